"""Every tokenizer.json that byte-level BPE does not cover, on the `tokenizers` package. Knows no model.

Encoding is the library's own. For decoding, each token gets bytes of its own, read off the decoder, so
that text streams without half characters and without decoding anything twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from gencli.tokenizers._added import AddedTokens
from gencli.tokenizers._decoding import token_bytes
from gencli.tokenizers._source import Source, library, refused


class Huggingface:
    """Text <-> ids through the `tokenizers` package, whatever the tokenizer.json holds."""

    place: ClassVar[int] = 100  # the last to be asked: it takes everything

    def __init__(self, source: Source) -> None:
        self._path, self._prepare = source.path, source.prepare
        self._library = library(source.path, source.text, source.added)
        self._added = AddedTokens(source.added)
        self.size = source.size
        self.special: Mapping[str, int] = source.special
        self.start_ids = source.start_ids
        with refused(source.path):
            found, self.strips_start = token_bytes(source, self._library)
            self._first = self._library.pre_tokenizer
            self._later = _without_first(source.pre_tokenizer)
        self.token_bytes: Sequence[bytes] = found

    def encode(self, text: str, *, at_start: bool = True) -> list[int]:
        """The ids of ordinary text. `at_start`: some tokenizers put a space before the first word only."""
        with refused(self._path):
            if self._prepare is not None:
                text = self._prepare(text, at_start)
            if self._later is not None:
                self._library.pre_tokenizer = self._first if at_start else self._later
            return self._library.encode(text, add_special_tokens=False).ids

    def find_special(self, text: str, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """(from, to, id) of the special tokens between `start` and `end`, with the white space they swallow."""
        return self._added.find(text, True, start, end)


def _without_first(pre_tokenizer: Any) -> Any:
    """The pre-tokenizer for text that is not the first, or None where that makes no difference."""
    text = json.dumps(pre_tokenizer)
    later = text.replace('"prepend_scheme": "first"', '"prepend_scheme": "never"')
    if later == text:
        return None
    from tokenizers import Tokenizer

    return Tokenizer.from_str(
        f'{{"version": "1.0", "model": {{"type": "BPE", "vocab": {{}}, "merges": []}}, "pre_tokenizer": {later}}}'
    ).pre_tokenizer
