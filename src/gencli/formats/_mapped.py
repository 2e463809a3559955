"""Tensors mapped out of files, each by itself, so that its memory goes back when nobody holds it any more. Knows no format."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gencli.errors import RunError, shown
from gencli.formats import DTYPES, Header

if TYPE_CHECKING:
    from torch import Tensor

TORCH = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
}


class Piece(NamedTuple):
    """Where a tensor lies: from byte `begin` of `file` on, row after row, or with a `stride` in numbers an axis."""

    file: Path
    begin: int
    header: Header
    stride: tuple[int, ...] | None = None


class MappedTensors:
    """The tensors at some places of files. They are views of the files until somebody changes their type."""

    def __init__(self, pieces: Mapping[str, Piece], device: str = "cpu") -> None:
        self.headers = {name: piece.header for name, piece in pieces.items()}
        self._pieces, self._device = pieces, device

    def on(self, device: str) -> MappedTensors:
        return MappedTensors(self._pieces, device)

    def __getitem__(self, name: str) -> Tensor:
        return mapped(self._pieces[name], name).to(self._device)


def mapped(piece: Piece, name: str) -> Tensor:
    """The tensor `name` at this place, as a view of the file. Raises `RunError` where it cannot be read."""
    import torch

    dtype, shape = piece.header
    if dtype not in TORCH:
        raise RunError(f"tensor {shown(name)} of {piece.file} is of the type {dtype}, which is not read.")
    kind, width = getattr(torch, TORCH[dtype]), DTYPES[dtype] // 8
    count = _span(shape, piece.stride)
    if not count:
        return torch.empty(shape, dtype=kind)
    page = piece.begin % mmap.ALLOCATIONGRANULARITY
    try:
        file = os.open(piece.file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # private pages that may be written to: torch asks for such, and the file stays as it is
            view = mmap.mmap(file, page + count * width, access=mmap.ACCESS_COPY, offset=piece.begin - page)
        finally:
            os.close(file)
    except (OSError, ValueError) as error:
        raise RunError(f"tensor {shown(name)} of {piece.file} cannot be read: {error}.") from error
    data = torch.frombuffer(view, dtype=torch.uint8, count=count * width, offset=page)
    if piece.begin % width:  # numbers that lie across words: computing with them in place would be slow, or fail
        data = data.clone()
    found = data.view(kind)
    return found.view(shape) if piece.stride is None else found.as_strided(shape, piece.stride)


def _span(shape: tuple[int, ...], stride: tuple[int, ...] | None) -> int:
    """The numbers from the first to the last that a tensor uses."""
    if stride is None or 0 in shape:
        return math.prod(shape)
    return 1 + sum((length - 1) * step for length, step in zip(shape, stride, strict=True))
