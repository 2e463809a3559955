"""What `torch.save` wrote: a zip archive with a pickle and the numbers beside it, mapped. Runs no pickle, and needs no torch."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gencli.errors import RunError, shown
from gencli.formats import DTYPES, MOST_AXES, Header, unreadable
from gencli.formats._archives import Entry, entries
from gencli.formats._mapped import Piece
from gencli.formats._pickles import LARGEST_PICKLE, Call, Name, Stored, read_pickle

STORAGES = {
    "BoolStorage": "BOOL",
    "ByteStorage": "U8",
    "CharStorage": "I8",
    "ShortStorage": "I16",
    "IntStorage": "I32",
    "LongStorage": "I64",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "FloatStorage": "F32",
    "DoubleStorage": "F64",
}
TENSOR, PARAMETER = Name("torch._utils", "_rebuild_tensor_v2"), Name("torch._utils", "_rebuild_parameter")
KNOWN = {("collections", "OrderedDict"), TENSOR, PARAMETER, ("torch", "Size"), *(("torch", name) for name in STORAGES)}


def read_torch(file: Path) -> tuple[Any, Mapping[str, Entry]]:
    """The value that was saved, with a `Call` where a tensor stands, and the archive's entries under their own names.

    Raises `RunError` for what is damaged or holds anything but plain values and tensors.
    """
    found = entries(file)
    [root, *others] = [name.removesuffix("data.pkl") for name in found if name.count("/") == 1 and name.endswith("/data.pkl")] or [""]
    if not root or others:
        raise RunError(f"{file} is damaged: it holds no data.pkl, or several.")
    place = found[f"{root}data.pkl"]
    if place.size > LARGEST_PICKLE:
        raise RunError(f"{file} is damaged: its pickle has {place.size} bytes, more than the {LARGEST_PICKLE} that are read.")
    try:
        with open(file, "rb") as stream:
            data = os.pread(stream.fileno(), place.size, place.begin)
            order = found.get(f"{root}byteorder")
            if order is not None and os.pread(stream.fileno(), min(order.size, 8), order.begin) != b"little":
                raise RunError(f"{file} is not read: its numbers are written with the large end first.")
    except OSError as error:
        raise unreadable(file, error) from error
    value = read_pickle(data, f"the pickle of {file}", KNOWN)
    return value, {name.removeprefix(f"{root}data/"): entry for name, entry in found.items() if name.startswith(f"{root}data/")}


def pieces_of(file: Path, value: Any, held: Mapping[str, Entry]) -> dict[str, Piece]:
    """Where the tensors of a dictionary (a state dict) lie. Raises `RunError` where one is none, or leaves its storage."""
    if not isinstance(value, dict):
        raise RunError(f"{file} holds no dictionary of tensors.")
    try:
        return {_text(name): _piece(file, _text(name), tensor, held) for name, tensor in value.items() if name != "_metadata"}
    except (ValueError, TypeError) as error:
        raise RunError(f"{file} is damaged: {error}.") from error


def _text(name: Any) -> str:
    if not isinstance(name, str):
        raise ValueError(f"{shown(name)} is no tensor's name")
    return name


def _piece(file: Path, name: str, tensor: Any, held: Mapping[str, Entry]) -> Piece:
    while isinstance(tensor, Call) and tensor.name == PARAMETER and tensor.arguments:
        tensor = tensor.arguments[0]
    if not isinstance(tensor, Call) or tensor.name != TENSOR or len(tensor.arguments) < 4:
        raise ValueError(f"{shown(name)} is no tensor")
    storage, offset, shape, stride = tensor.arguments[:4]
    if isinstance(shape, Call):
        (shape,) = shape.arguments
    match storage:
        case Stored(("storage", Name("torch", kind), str(key), str(), int())) if kind in STORAGES and key in held:
            dtype, place = STORAGES[kind], held[key]
        case _:
            raise ValueError(f"tensor {shown(name)} has no storage in the file")
    whole = all(isinstance(each, tuple) and all(type(number) is int and number >= 0 for number in each) for each in (shape, stride))
    if not whole or type(offset) is not int or offset < 0 or len(shape) != len(stride) or len(shape) > MOST_AXES:
        raise ValueError(f"tensor {shown(name)} has no offset, shape and strides in whole numbers")
    width = DTYPES[dtype] // 8
    last = 0 if 0 in shape else 1 + sum((length - 1) * step for length, step in zip(shape, stride, strict=True))
    # as many numbers as the storage has at most: strides could otherwise repeat it without end
    if max(offset + last, math.prod(shape)) * width > place.size:
        raise ValueError(f"tensor {shown(name)} leaves its storage of {place.size} bytes")
    return Piece(file, place.begin + offset * width, Header(dtype, shape), _unless_in_rows(shape, stride))


def _unless_in_rows(shape: tuple[int, ...], stride: tuple[int, ...]) -> tuple[int, ...] | None:
    """The strides, or None where the numbers lie row after row."""
    due = 1
    for length, step in zip(reversed(shape), reversed(stride), strict=True):
        if length != 1 and step != due:
            return stride
        due *= length
    return None
