"""Every tokenizer.json that byte-level BPE does not cover, on the `tokenizers` package. Knows no model.

Encoding is the library's own. For decoding, each token gets bytes of its own, read off the decoder, so
that text streams without half characters and without decoding anything twice.
"""

from __future__ import annotations

import json
import re
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
        unknown = source.model.get("unk_token"), source.model.get("unk_id")
        # special tokens that stand among the words of the vocabulary; the one for what is unknown may come of any text
        words = {text: id for text, id in source.special.items() if text in source.vocab and len(text) > 1}
        self._words = {text: id for text, id in words.items() if text not in unknown and id not in unknown}
        self._never = frozenset(self._words.values())
        with refused(source.path):
            found, self.strips_start = token_bytes(source, self._library)
            self._first = self._library.pre_tokenizer
            self._later = _without_first(source.pre_tokenizer)
        self.token_bytes: Sequence[bytes] = found

    def encode(self, text: str, *, at_start: bool = True) -> list[int]:
        """The ids of ordinary text. `at_start`: some tokenizers put a space before the first word only.

        Where a vocabulary takes typed special-token text for one of its words, the text is cut within it.
        """
        ids = self._encode(text, at_start)
        if self._never.isdisjoint(ids):
            return ids
        cuts = {match.start() + 1 for word in self._words for match in re.finditer(f"(?={re.escape(word)})", text)}
        ids, at = [], 0
        for cut in (*sorted(cuts), len(text)):
            ids += self._encode(text[at:cut], at_start and at == 0)
            at = cut
        return ids

    def _encode(self, text: str, at_start: bool) -> list[int]:
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
