"""A safetensors file's header: where its tensors lie, checked in full. Knows no folder, reads no tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gencli.errors import RunError, shown
from gencli.formats import DTYPES, LARGEST_HEADER, MOST_AXES, Header, parse_json, size_of, unreadable
from gencli.formats._mapped import Piece


def read_header(file: Path) -> dict[str, Piece]:
    """Where every tensor of a safetensors file lies, by name; nothing of their size is allocated.

    Raises `RunError` where the header is not what the format asks for: tensors that lie one after
    another without gap or overlap and fill the file, each as long as its shape says.
    """
    size = size_of(file)
    try:
        with open(file, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > size - 8:
                raise RunError(f"{file} is damaged: its header does not fit in its {size} bytes; perhaps it was cut off.")
            if length > LARGEST_HEADER:
                raise RunError(f"{file} is damaged: its header claims {length} bytes, more than the {LARGEST_HEADER} that are read.")
            data = stream.read(length)
    except OSError as error:
        raise unreadable(file, error) from error
    entries = parse_json(data, f"the header of {file}")
    entries.pop("__metadata__", None)
    places = {name: _place(name, entry, file) for name, entry in entries.items()}
    start = 8 + length
    _check_places(places, size - start, file)
    headers = {name: Header(entry["dtype"], tuple(entry["shape"])) for name, entry in entries.items()}
    return {name: Piece(file, start + begin, headers[name]) for name, (begin, _) in places.items()}


def _place(name: str, entry: Any, file: Path) -> tuple[int, int]:
    """Where a tensor begins and ends, once its entry is known to be whole."""
    what = f"{file} is damaged: tensor {shown(name)}"
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise RunError(f"{what} has no dtype, shape and data_offsets.")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise RunError(f"{what} has the dtype {shown(dtype)}; known are {', '.join(DTYPES)}.")
    if not _whole_numbers(shape) or len(shape) > MOST_AXES:
        raise RunError(f"{what} has the shape {shown(shape)}, which is not a list of up to {MOST_AXES} whole numbers from 0.")
    if not _whole_numbers(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise RunError(f"{what} has the data_offsets {shown(offsets)}, which are not a beginning and an end.")
    if math.prod(shape) * DTYPES[dtype] != (offsets[1] - offsets[0]) * 8:
        raise RunError(f"{what} has the shape {shown(shape)} in {dtype}, but {offsets[1] - offsets[0]} bytes.")
    return offsets[0], offsets[1]


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)


def _check_places(places: Mapping[str, tuple[int, int]], size: int, file: Path) -> None:
    """Refuse tensors that overlap, leave a gap, or do not end where the file ends."""
    at = 0
    for name, (begin, end) in sorted(places.items(), key=lambda item: item[1]):
        if begin != at:
            raise RunError(f"{file} is damaged: tensor {shown(name)} begins at byte {begin} of the data, where byte {at} is due.")
        at = end
    if at != size:
        raise RunError(f"{file} is damaged: its tensors take {at} bytes and it holds {size}; perhaps it was cut off.")
