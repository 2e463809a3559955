"""SentencePiece's Unigram: the likeliest way to cut a text into pieces, in its own arithmetic. Knows no model and no file."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from gencli.errors import RunError
from gencli.tokenizers._added import AddedTokens
from gencli.tokenizers._pieces import SPACE, Pieces, Type
from gencli.tokenizers._source import Inexact

_UNKNOWN_PENALTY = 10.0
_BONUS = 0.1  # a byte; until version 0.2 it was the highest score of a piece
_NOWHERE = -1
_LEAF = ""  # no character: where a node of the trie keeps its piece's id


class Unigram:
    """Text <-> ids by the best path over the whole text, with sums rounded to float32 as SentencePiece rounds them."""

    place: ClassVar[int] = 2

    def __init__(self, source: Any) -> None:
        if not isinstance(source, Pieces) or not source.unigram:
            raise Inexact("it is no SentencePiece Unigram")
        self._source = source
        self.size = len(source.pieces)
        self.special: Mapping[str, int] = {token.content: token.id for token in source.added if token.special}
        self.start_ids = source.start_ids
        self.strips_start = source.prefix
        self.token_bytes: Sequence[bytes] = [_bytes(piece, type) for piece, type in zip(source.pieces, source.types, strict=True)]
        self._added = AddedTokens(source.added)
        self._bytes = {byte: id for byte in range(256) if (id := source.ids.get(f"<0x{byte:02X}>")) is not None}
        self._falls_back = source.byte_fallback and len(self._bytes) == 256
        normal = [score for score, type in zip(source.scores, source.types, strict=True) if type == Type.NORMAL]
        self._scores = list(source.scores)
        self._unknown_score = array("f", [min(normal, default=0.0) - _UNKNOWN_PENALTY])[0]
        self._trie: dict[str, Any] = {}
        for id, (piece, type) in enumerate(zip(source.pieces, source.types, strict=True)):
            if type == Type.USER_DEFINED:  # a bonus by its length in bytes, so that it is hardly ever cut
                self._scores[id] = _BONUS * (len(piece.encode()) - 1)
            if type in (Type.NORMAL, Type.USER_DEFINED):
                node = self._trie
                for character in piece:
                    node = node.setdefault(character, {})
                node[_LEAF] = id

    def encode(self, text: str, *, at_start: bool = True) -> list[int]:
        """The ids of ordinary text; `at_start`: a space goes before the first word."""
        try:
            text = self._source.prepare(text, at_start)
        except ValueError as error:
            raise RunError(f"The tokenizer of {self._source.path} failed: {error}.") from error
        ids: list[int] = []
        for first, past, id in self._path(text):
            if id != _NOWHERE:
                ids.append(id)
            elif self._falls_back:
                ids += [self._bytes[byte] for byte in text[first:past].encode()]
            elif self._source.unknown is None:
                raise RunError(f"{self._source.path}: its vocabulary has no token for {text[first:past]!r}.")
            elif not ids or ids[-1] != self._source.unknown:  # a run of unknown characters is one
                ids.append(self._source.unknown)
        return ids

    def find_special(self, text: str, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """(from, to, id) of the special tokens between `start` and `end`."""
        return self._added.find(text, True, start, end)

    def _path(self, text: str) -> Iterator[tuple[int, int, int]]:
        """(from, to, id) of the pieces on the best path, `_NOWHERE` as the id of a character that no piece holds."""
        scores, size, rounded = self._scores, len(text), array("f", [0.0])
        best = array("f", bytes(4 * (size + 1)))  # float32, in which ties fall as they do there
        begins, ids = array("q", [_NOWHERE]) * (size + 1), array("q", [_NOWHERE]) * (size + 1)
        for start in range(size):
            here, node, alone = best[start], self._trie, False
            for end in range(start, size):
                if text[end] not in node:
                    break
                node = node[text[end]]
                if (id := node.get(_LEAF, _NOWHERE)) != _NOWHERE:
                    alone |= end == start
                    rounded[0] = scores[id] + here
                    candidate = rounded[0]
                    if begins[end + 1] == _NOWHERE or candidate > best[end + 1]:
                        best[end + 1], begins[end + 1], ids[end + 1] = candidate, start, id
            if not alone:
                rounded[0] = self._unknown_score + here
                candidate = rounded[0]
                if begins[start + 1] == _NOWHERE or candidate > best[start + 1]:
                    best[start + 1], begins[start + 1], ids[start + 1] = candidate, start, _NOWHERE
        path = []
        while size > 0:
            path.append((begins[size], size, ids[size]))
            size = begins[size]
        return reversed(path)


def _bytes(piece: str, type: int) -> bytes:
    if type == Type.BYTE:
        return bytes.fromhex(piece[3:5])
    return piece.encode() if type in (Type.UNKNOWN, Type.CONTROL) else piece.replace(SPACE, " ").encode()
