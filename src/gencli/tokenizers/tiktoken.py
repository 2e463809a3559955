"""A .tiktoken file on the package of that name: the ranks as they stand there. Knows no model and downloads nothing."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from gencli.errors import RunError
from gencli.tokenizers._added import AddedTokens
from gencli.tokenizers._patterns import overflows
from gencli.tokenizers._ranked import Ranked
from gencli.tokenizers._source import Inexact, refused


class Tiktoken:
    """Text <-> ids, equal to what a tiktoken encoding of the same ranks, pattern and tokens does."""

    place: ClassVar[int] = 1
    strips_start = False

    def __init__(self, source: Any) -> None:
        if not isinstance(source, Ranked):
            raise Inexact("it is no list of ranks")
        from tiktoken import Encoding

        self._path, self._nfc = source.path, source.nfc
        self.size = source.size
        self.special: Mapping[str, int] = {token.content: token.id for token in source.added if token.special}
        self.start_ids = source.start_ids
        self._added = AddedTokens(source.added)
        self._ordinary = any(not token.special for token in source.added)
        found = [b""] * source.size
        for token, rank in source.ranks.items():
            found[rank] = token
        for added in source.added:
            found[added.id] = added.content.encode()
        self.token_bytes: Sequence[bytes] = found
        with refused(source.path):
            self._encoding = Encoding(str(source.path), pat_str=source.pattern, mergeable_ranks=source.ranks, special_tokens={})

    def encode(self, text: str, *, at_start: bool = True) -> list[int]:
        """The ids of ordinary text; `at_start` makes no difference here."""
        if overflows(text):
            raise RunError(f"The tokenizer of {self._path} cannot cut a text with so much white space in a row.")
        text = unicodedata.normalize("NFC", text) if self._nfc else text
        return self._added.around(text, self._merge) if self._ordinary else self._merge(text)

    def find_special(self, text: str, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """(from, to, id) of the special tokens between `start` and `end`."""
        return self._added.find(text, True, start, end)

    def _merge(self, text: str) -> list[int]:
        with refused(self._path):
            return self._encoding.encode_ordinary(text)
