"""llama2.c's tokenizer.bin -> pieces: a score, a length and a text for each, spaces written as such. Knows no library."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from gencli.tokenizers._pieces import SPACE, Pieces, Type
from gencli.tokenizers._source import MAX_ID, damaged

_UNKNOWN, _START, _END = range(3)  # llama2.c counts on them: Llama's <unk>, <s>, </s>, then 256 bytes
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def pieces_of(path: Path, data: bytes) -> Pieces:
    """The pieces of a file's `data`. Raises `RunError` where it is damaged."""
    pieces: list[str] = []
    scores: list[float] = []
    at = 4  # before it stands the longest piece's length, which nobody needs
    while at < len(data):
        if at + 8 > len(data) or len(pieces) == MAX_ID:
            raise damaged(path, "it ends within a token, or has too many")
        score, length = struct.unpack_from("<fi", data, at)
        at += 8
        if not 0 <= length <= len(data) - at:
            raise damaged(path, f"token {len(pieces)} claims {length} bytes, more than there are")
        try:
            pieces.append(data[at : at + length].decode("utf-8").replace(" ", SPACE))
        except UnicodeDecodeError as error:
            raise damaged(path, f"token {len(pieces)} is no UTF-8") from error
        scores.append(score)
        at += length
    if len(pieces) <= _END:
        raise damaged(path, "it has fewer tokens than every such file")
    types = [int(Type.BYTE if _BYTE.fullmatch(piece) else Type.NORMAL) for piece in pieces]
    types[_UNKNOWN], types[_START], types[_END] = Type.UNKNOWN, Type.CONTROL, Type.CONTROL
    pieces[_START], pieces[_END] = pieces[_START].strip("\n"), pieces[_END].strip("\n")
    return Pieces(path, pieces, scores, types, unknown=_UNKNOWN, start_ids=(_START,))
