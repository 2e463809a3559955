"""The fields of a protobuf message, as far as a tokenizer's file needs them. Knows no message by name."""

from __future__ import annotations

import struct
from collections.abc import Iterator

# what a field's value is, by its wire type: a whole number, 8 bytes, bytes of a stated length, 4 bytes
Value = int | bytes
_FIXED = {1: 8, 5: 4}


def fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """(number, value) of each field in order; nothing is copied but what it holds. Raises `ValueError` where they do not add up."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            whole, at = _varint(data, at)
            yield number, whole
            continue
        if wire == 2:
            length, at = _varint(data, at)
        elif wire in _FIXED:
            length = _FIXED[wire]
        else:
            raise ValueError(f"a field of the unknown kind {wire} at byte {at}")
        if length > len(data) - at:
            raise ValueError(f"a field at byte {at} claims {length} bytes, more than there are")
        yield number, data[at : at + length]
        at += length


def number(value: Value) -> float:
    """A `float` field. Raises `ValueError` where it is none."""
    if not isinstance(value, bytes) or len(value) != 4:
        raise ValueError("a score is no number of 4 bytes")
    (found,) = struct.unpack("<f", value)
    return float(found)


def whole(value: Value) -> int:
    """An `int32` field, which is written as 64 bits where it is negative. Raises `ValueError` where it is none."""
    if not isinstance(value, int):
        raise ValueError("a setting is no whole number")
    return value - (1 << 64) if value >= 1 << 63 else value


def text(value: Value) -> str:
    """A `string` field. Raises `ValueError` where it is none, or no UTF-8."""
    if not isinstance(value, bytes):
        raise ValueError("a text is a number")
    return value.decode("utf-8")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    found = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it ends within a number")
        byte = data[at]
        at += 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return found & 0xFFFF_FFFF_FFFF_FFFF, at
    raise ValueError(f"a number before byte {at} is longer than 64 bits")
