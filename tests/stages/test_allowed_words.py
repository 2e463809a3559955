"""Allowed words: by text and by id, with and without the end, and transformers as the reference."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import PrefixConstrainedLogitsProcessor

from gencli.candidates import Candidates
from gencli.errors import UsageError
from gencli.memory import Memory
from gencli.registry import find
from gencli.stages import build
from gencli.stages.allowed_words import AllowedWords
from gencli.vocabulary import Vocabulary
from references import agrees

TEXTS = ["a", "b", " cat", "c", ""]


def encode(text: str) -> list[int]:
    """A toy tokenizer: the whole text if it is a token, else letter by letter."""
    return [TEXTS.index(text)] if text in TEXTS else [TEXTS.index(letter) for letter in text if letter in TEXTS]


VOCABULARY = Vocabulary(len(TEXTS), [text.encode() for text in TEXTS], frozenset({4}), frozenset({4}), encode)


def stage(words: object, end: str = "forbidden") -> AllowedWords:
    built: AllowedWords = build("allowed_words", find("stages", "allowed_words"), {"words": words, "end": end})
    return built.bind(VOCABULARY)


@pytest.mark.parametrize(
    ("words", "end", "left"),
    [
        ([" cat"], "forbidden", [2]),
        ([" cat", 0], "forbidden", [0, 2]),
        (["ab"], "forbidden", [0, 1]),  # each token of a text of several
        ([(0, 3)], "forbidden", [0, 3]),
        ([" cat"], "allowed", [2, 4]),
        ([], "allowed", [0, 1, 2, 3, 4]),
    ],
)
def test_only_these_may_come(kept, words: list[object], end: str, left: list[int]) -> None:
    bound = stage(words, end)
    assert bound.words == (tuple(left) if words else ())
    assert bound.bind(VOCABULARY) == bound
    assert kept(bound(Candidates(torch.zeros((1, 5))), ())) == left


def test_where_none_of_them_is_in_play_the_row_stays(kept) -> None:
    candidates = Candidates(torch.tensor([[0.0, -torch.inf, 1.0], [0.0, 1.0, 2.0]]))
    after = stage(["b"])(candidates, ())
    assert [kept(after, row) for row in (0, 1)] == [[0, 2], [1]]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["?"], r"allowed_words: '\?' is no token of this checkpoint\."),
        ([5], r"allowed_words: token id 5 is outside the vocabulary \(0 to 4\)\."),
        ([[0, 9]], r"allowed_words: token id 9 is outside the vocabulary \(0 to 4\)\."),
    ],
)
def test_bind_refuses(words: list[object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        stage(words)


def test_agrees_with_transformers() -> None:
    def theirs(stage: AllowedWords, row: Tensor, memory: Memory) -> Tensor:
        words = [word for word in stage.words if word < row.shape[1]]
        after = PrefixConstrainedLogitsProcessor(lambda batch, ids: words, 1)(torch.tensor([memory.ids]), row)
        return after.masked_fill(row == -torch.inf, -torch.inf)  # where none is in play transformers revives them; ours never does

    agrees([AllowedWords((0,)), AllowedWords((0, 1, 5, 150)), AllowedWords(tuple(range(60)))], theirs)


def test_because() -> None:
    assert stage(["a"]).because(Candidates(torch.zeros((1, 5))), 0, 1) == "not among the allowed words"
