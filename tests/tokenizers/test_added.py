"""Tokens that are matched in the text itself: where one stands alone is decided as the `tokenizers` library decides it."""

from __future__ import annotations

import unicodedata

import pytest
import tokenizers
from tokenizers import Tokenizer as Library
from tokenizers import models

from gencli.tokenizers._added import AddedToken, AddedTokens
from tokenizing import ASSIGNED


@pytest.mark.parametrize("text", ["{}<x>", "<x>{}"])
def test_a_single_word_stands_beside_no_character_of_a_word(text: str) -> None:
    """Every character that this Python's Unicode knows, of the planes that writing uses."""
    library = Library(models.BPE())
    library.add_special_tokens([tokenizers.AddedToken("<x>", single_word=True)])
    ours = AddedTokens([AddedToken(0, "<x>", special=True, single_word=True)])
    places = [*ASSIGNED, *range(0x1F100, 0x1F200)]
    texts = [text.format(chr(place)) for place in places if unicodedata.category(chr(place)) != "Cn"]
    alone = [len(each.ids) == 1 for each in library.encode_batch(texts)]
    assert [text for text, each in zip(texts, alone, strict=True) if each != bool(list(ours.find(text, special=True)))] == []
    assert 0 < sum(alone) < len(alone)
