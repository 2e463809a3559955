"""A GGUF file's own bookkeeping: its metadata and where its tensors lie, checked in full. Knows no architecture.

The layout is described in ggml's docs/gguf.md. Counts and lengths are believed only as far as the file reaches.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gencli.errors import RunError, shown
from gencli.formats import size_of, unreadable

MAGIC, VERSIONS, ALIGNMENT = b"GGUF", (2, 3), 32
# of one file: real ones have some hundred thousand texts (tokens and merges), and some hundred tensors
MOST_TEXTS, MOST_NUMBERS, MOST_ENTRIES, MOST_AXES = 1 << 21, 1 << 23, 1 << 16, 4
LONGEST_TEXT, LONGEST_NAME = 1 << 24, 1 << 16  # bytes
TEXT, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

# how ggml numbers its types: name, numbers a block, bytes a block
TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
}


class Held(NamedTuple):
    """A tensor in a file: its type by ggml's name, its shape (rows last but one), and its bytes."""

    file: Path
    kind: str
    shape: tuple[int, ...]
    begin: int
    size: int


class GGUFFile(NamedTuple):
    """What a file says: `metadata` by key (numbers, texts, lists of them), `tensors` by name, perhaps in other files beside it."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, Held]


def read_gguf(path: Path, texts: int = MOST_TEXTS, numbers: int = MOST_NUMBERS) -> GGUFFile:
    """A file whose lists hold so many texts and numbers at most, all together.

    Raises `RunError` for a file that is damaged or forged; nothing of a claimed size is allocated.
    """
    size = size_of(path)
    if size < 24:
        raise RunError(f"{path} is damaged: {size} bytes are no GGUF file; perhaps it was cut off.")
    try:
        with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(path, data, size, texts, numbers).file()
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, struct.error) as error:  # UnicodeDecodeError is one too
        raise RunError(f"{path} is damaged: {error}.") from error


class _Reader:
    def __init__(self, path: Path, data: mmap.mmap, size: int, texts: int, numbers: int) -> None:
        self.path, self.data, self.size, self.at = path, data, size, 0
        self.texts, self.numbers = texts, numbers  # what may still come

    def file(self) -> GGUFFile:
        if self.data[:4] != MAGIC:
            raise ValueError("it does not begin with GGUF")
        self.at = 4
        version = self.scalar("I")
        if version not in VERSIONS:
            big = int.from_bytes(version.to_bytes(4, "big"), "little") in VERSIONS
            raise ValueError("its numbers are written with the large end first" if big else f"its version {version} is not 2 or 3")
        tensors, entries = self.scalar("Q"), self.scalar("Q")
        if tensors > MOST_ENTRIES or entries > MOST_ENTRIES:
            raise ValueError(f"it claims {tensors} tensors and {entries} settings; at most {MOST_ENTRIES} of each are read")
        metadata: dict[str, Any] = {}
        for _ in range(entries):
            key = self.text(LONGEST_NAME)
            if key in metadata:
                raise ValueError(f"the setting {shown(key)} stands in it twice")
            metadata[key] = self.value(self.scalar("I"))
        return GGUFFile(self.path, metadata, self.places(tensors, metadata.get("general.alignment", ALIGNMENT)))

    def scalar(self, form: str) -> Any:
        if form == "?":
            return bool(self.scalar("B"))
        (value,) = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def text(self, longest: int = LONGEST_TEXT) -> str:
        length = self.scalar("Q")
        if length > longest or length > self.size - self.at:
            raise ValueError(f"a text of {length} bytes at byte {self.at} is too long, or goes beyond its end")
        self.at += length
        return str(self.data[self.at - length : self.at], "utf-8")

    def value(self, kind: int) -> Any:
        if kind == TEXT:
            return self.text()
        if kind == ARRAY:
            return self.array(self.scalar("I"), self.scalar("Q"))
        if kind not in SCALARS:
            raise ValueError(f"a setting is of the type {kind}, which is not known")
        return self.scalar(SCALARS[kind])

    def array(self, kind: int, count: int) -> list[Any]:
        if kind == TEXT:
            self.texts -= count
            if self.texts < 0 or count > (self.size - self.at) // 8:
                raise ValueError(f"a list of {count} texts is too long, or goes beyond its end")
            return self.list_of_texts(count)
        if kind not in SCALARS:
            raise ValueError(f"a list is of the type {kind}, which is not read")
        self.numbers -= count
        form = SCALARS[kind].replace("?", "B")
        if self.numbers < 0 or count > (self.size - self.at) // struct.calcsize("<" + form):
            raise ValueError(f"a list of {count} numbers is too long, or goes beyond its end")
        values = struct.unpack_from(f"<{count}{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{count}{form}")
        return list(map(bool, values)) if SCALARS[kind] == "?" else list(values)

    def list_of_texts(self, count: int) -> list[str]:
        """Apart from `text` because a vocabulary has some hundred thousand."""
        data, at, size, length_at = self.data, self.at, self.size, struct.Struct("<Q").unpack_from
        found = []
        for _ in range(count):
            (length,) = length_at(data, at)
            end = at + 8 + length
            if length > LONGEST_NAME or end > size:
                raise ValueError(f"a text of {length} bytes at byte {at} is too long, or goes beyond its end")
            found.append(str(data[at + 8 : end], "utf-8"))
            at = end
        self.at = at
        return found

    def places(self, count: int, alignment: Any) -> dict[str, Held]:
        if type(alignment) is not int or not 1 <= alignment <= 1 << 20 or alignment & (alignment - 1):
            raise ValueError(f"its alignment {shown(alignment)} is no power of two up to {1 << 20}")
        found: dict[str, tuple[str, tuple[int, ...], int, int]] = {}
        for _ in range(count):
            name = self.text(LONGEST_NAME)
            axes = self.scalar("I")
            if name in found or axes > MOST_AXES:
                raise ValueError(f"the tensor {shown(name)} stands in it twice, or has more than {MOST_AXES} axes")
            shape = tuple(self.scalar("Q") for _ in range(axes))[::-1]
            kind, offset = self.scalar("I"), self.scalar("Q")
            if kind not in TYPES:
                raise ValueError(f"the tensor {shown(name)} is of ggml's type {kind}, which is not read")
            word, numbers, width = TYPES[kind]
            if (shape[-1] if shape else 1) % numbers or offset % alignment:
                raise ValueError(f"the tensor {shown(name)} of type {word} and shape {list(shape)} does not lie in whole blocks")
            found[name] = (word, shape, offset, math.prod(shape) // numbers * width)
        start = -(-self.at // alignment) * alignment
        return _checked(
            {name: Held(self.path, word, shape, start + at, length) for name, (word, shape, at, length) in found.items()}, self.size
        )


def _checked(tensors: dict[str, Held], size: int) -> dict[str, Held]:
    """The same, none of them over another or beyond the end."""
    at = 0
    for name, held in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].size)):
        if held.begin < at:
            raise ValueError(f"the tensor {shown(name)} begins within another")
        at = held.begin + held.size
        if at > size:
            raise ValueError(f"the tensor {shown(name)} ends at byte {at} of {size}; perhaps the file was cut off")
    return tensors
