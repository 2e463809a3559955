"""SentencePiece's compiled normaliser: each place's longest listed text becomes another text. Knows no model.

The rules stand in a double-array trie (Darts-clone) over UTF-8 bytes, its leaves the places of the new
texts in a block of NUL-terminated ones behind it.
"""

from __future__ import annotations

import re
import struct

_SPECIMENS = "".join(map(chr, range(0x20, 0x7F)))


class Charsmap:
    """`normalise`: a text, rewritten left to right. Raises `ValueError` at construction where `data` is damaged."""

    def __init__(self, data: bytes) -> None:
        size = int.from_bytes(data[:4], "little")
        if len(data) < 4 or size % 4 or not 0 < size <= len(data) - 4:
            raise ValueError("its normaliser's table does not fit in its bytes")
        self._units = struct.unpack_from(f"<{size // 4}I", data, 4)
        self._texts = data[4 + size :]
        # printable ASCII that no rule changes, where no longer rule can begin with it: most of most texts
        kept = [each for each in _SPECIMENS if self._longest(each.encode(), 0)[1] == 0 and not self._goes_on(ord(each))]
        characters = re.escape("".join(kept).encode())
        self._kept = re.compile(b"[" + characters + b"]+(?![\\x80-\\xff])") if kept else None

    def normalise(self, text: str) -> str:
        """The text by the rules; raises `ValueError` where the table leads nowhere."""
        data, at, parts = text.encode("utf-8"), 0, []
        while at < len(data):
            if self._kept and (run := self._kept.match(data, at)):
                parts.append(run[0])
                at = run.end()
                continue
            place, length = self._longest(data, at)
            if length:
                parts.append(self._texts[place : self._texts.index(b"\0", place)])
            else:
                length = _length(data[at])
                parts.append(data[at : at + length])
            at += length
        return b"".join(parts).decode("utf-8")

    def _longest(self, data: bytes, at: int) -> tuple[int, int]:
        """(place of the new text, bytes of the old one) for the longest rule at this place; 0 bytes for none."""
        units, found = self._units, (0, 0)
        node = _offset(units[0])
        try:
            for end in range(at, len(data)):
                node ^= data[end]
                unit = units[node]
                if unit & 0x8000_00FF != data[end]:
                    break
                node ^= _offset(unit)
                if unit >> 8 & 1:
                    found = units[node] & 0x7FFF_FFFF, end + 1 - at
        except IndexError as error:
            raise ValueError("its normaliser's table leads out of itself") from error
        if found[1] and found[0] >= len(self._texts):
            raise ValueError("its normaliser's table names a text that is not there")
        return found

    def _goes_on(self, byte: int) -> bool:
        """Whether a rule begins with this byte and another ASCII byte."""
        node = _offset(self._units[0]) ^ byte
        if node >= len(self._units) or self._units[node] & 0x8000_00FF != byte:
            return False
        node ^= _offset(self._units[node])
        return any(node ^ next < len(self._units) and self._units[node ^ next] & 0x8000_00FF == next for next in range(1, 0x80))


def _offset(unit: int) -> int:
    return (unit >> 10) << ((unit & 0x200) >> 6)


def _length(byte: int) -> int:
    return 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
