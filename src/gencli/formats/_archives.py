"""Zip archives whose entries lie in them as they are, as torch writes them: where each begins. Unpacks nothing; knows no tensor."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gencli.errors import RunError, shown
from gencli.formats import LARGEST_HEADER, size_of, unreadable

END, END_64, LOCATOR_64, CENTRAL, LOCAL = b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\1\2", b"PK\3\4"
LONGEST_END = 22 + 65_535  # bytes: the end record with the longest comment
WHOLE_16, WHOLE_32 = 0xFFFF, 0xFFFF_FFFF  # "see the 64-bit field"


class Entry(NamedTuple):
    """Bytes from `begin` on in the archive."""

    begin: int
    size: int


def entries(file: Path) -> dict[str, Entry]:
    """Where the entries of an archive lie. Raises `RunError` where one is packed, or they overlap or leave the file."""
    size = size_of(file)
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise unreadable(file, error) from error
    try:
        at, length = _directory(descriptor, size)
        if length > LARGEST_HEADER or at + length > size:
            raise ValueError("its directory does not fit in it, or is too large")
        found: dict[str, Entry] = {}
        for name, local, entry_size in _listed(os.pread(descriptor, length, at)):
            if name in found:
                raise ValueError(f"{shown(name)} stands in it twice")
            found[name] = Entry(_data(descriptor, local), entry_size)
        _check(found, at)
        return found
    except (ValueError, struct.error, OSError) as error:
        raise RunError(f"{file} is damaged: {error}.") from error
    finally:
        os.close(descriptor)


def _directory(file: int, size: int) -> tuple[int, int]:
    """Where the list of entries begins, and its bytes."""
    start = max(0, size - LONGEST_END)
    tail = os.pread(file, size - start, start)
    at = tail.rfind(END)
    if at < 0:
        raise ValueError("it is no zip archive, or was cut off (files that torch wrote before version 1.6 are not read)")
    length, begin = struct.unpack_from("<II", tail, at + 12)
    place = start + at - 20
    if place >= 0 and os.pread(file, 4, place) == LOCATOR_64:
        (record,) = struct.unpack("<Q", os.pread(file, 8, place + 8))
        if record > size or os.pread(file, 4, record) != END_64:
            raise ValueError("its directory is not where its end says")
        length, begin = struct.unpack("<QQ", os.pread(file, 16, record + 40))
    return begin, length


def _listed(directory: bytes) -> Iterator[tuple[str, int, int]]:
    """(name, where its own header begins, bytes) of every entry."""
    at = 0
    while at < len(directory):
        if directory[at : at + 4] != CENTRAL:
            raise ValueError("its directory is not a list of entries")
        flags, method = struct.unpack_from("<HH", directory, at + 8)
        packed, size, name_length, extra, comment = struct.unpack_from("<IIHHH", directory, at + 20)
        (local,) = struct.unpack_from("<I", directory, at + 42)
        name = directory[at + 46 : at + 46 + name_length].decode("utf-8")
        wide = _wide(directory[at + 46 + name_length : at + 46 + name_length + extra])
        size, packed, local = (next(wide) if each == WHOLE_32 else each for each in (size, packed, local))
        if method or flags & 1 or packed != size:
            raise ValueError(f"{shown(name)} is packed or locked in it, and is not unpacked")
        yield name, local, size
        at += 46 + name_length + extra + comment


def _wide(extra: bytes) -> Iterator[int]:
    """The 64-bit fields of an entry, in their order."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            for place in range(at + 4, at + 4 + length - 7, 8):
                yield struct.unpack_from("<Q", extra, place)[0]
        at += 4 + length
    raise ValueError("a size is missing in its directory")


def _data(file: int, local: int) -> int:
    """Where the bytes of an entry begin, by its own header."""
    if local >= 1 << 62:
        raise ValueError("an entry leaves the file")
    header = os.pread(file, 30, local)
    if header[:4] != LOCAL:
        raise ValueError("an entry is not where its directory says")
    name, extra = struct.unpack_from("<HH", header, 26)
    return local + 30 + int(name) + int(extra)


def _check(found: dict[str, Entry], end: int) -> None:
    at = 0
    for name, (begin, size) in sorted(found.items(), key=lambda item: item[1]):
        if begin < at or begin + size > end:
            raise ValueError(f"{shown(name)} overlaps what stands before it, or leaves the file")
        at = begin + size
