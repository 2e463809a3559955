"""Token ids back to text, one at a time or all at once. Knows no tokenizer library and no model.

Both ways give the same text: the tokens' own bytes, joined and read as UTF-8; bytes that never become
a character turn into U+FFFD.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable

from gencli.vocabulary import Vocabulary

_NOTHING: frozenset[int] = frozenset()
_utf8 = codecs.getincrementaldecoder("utf-8")


class Detokeniser:
    """Text as soon as it is certain, never half a character.

    Special tokens give no text unless `special`. `at_start` tells that the text begins with the first
    token pushed (generation from an empty prompt): there some tokenizers' first space is not the text's.
    """

    def __init__(self, vocabulary: Vocabulary, *, special: bool = False, at_start: bool = False) -> None:
        self._bytes = vocabulary.token_bytes
        self._silent = _NOTHING if special else vocabulary.special_ids
        self._decode = _utf8("replace").decode
        self._strips = at_start and vocabulary.strips_start

    def push(self, id: int) -> str:
        """The text that became certain with this token; "" where its last character is not whole yet."""
        if id in self._silent:
            return ""
        text = self._decode(self._bytes[id])
        return self._first(text) if self._strips and text else text

    def flush(self) -> str:
        """The rest: U+FFFD for bytes that never became a character. The next push begins a new character."""
        return self._decode(b"", True)

    def _first(self, text: str) -> str:
        self._strips = False
        return text.removeprefix(" ")


def decode(vocabulary: Vocabulary, ids: Iterable[int], special: bool = False, at_start: bool = False) -> str:
    """The whole text of `ids` at once, equal to what a `Detokeniser` gives token by token."""
    silent = _NOTHING if special else vocabulary.special_ids
    token_bytes = vocabulary.token_bytes
    text = b"".join([token_bytes[id] for id in ids if id not in silent]).decode("utf-8", "replace")
    return text.removeprefix(" ") if at_start and vocabulary.strips_start else text
