"""A GGUF file's tensors under Hugging Face's names: dequantised a block of rows at a time when asked for. Knows no metadata key.

The numbers of every quantised type are those of the package `gguf`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from gencli.errors import RunError, shown
from gencli.formats import Header
from gencli.formats._gguf_architectures import TURNED, Architecture, Change
from gencli.formats._gguf_file import TYPES, GGUFFile, Held
from gencli.formats._mapped import Piece, mapped

if TYPE_CHECKING:
    from torch import Tensor

PLAIN = ("F32", "F16", "BF16")
BLOCK = 1 << 17  # numbers that are dequantised at a time: they stay in the processor's cache
# what follows from the settings: angles and their stretching, which formats read for themselves
DERIVED = re.compile(r"rope_freqs\.weight|rope_factors_(long|short)\.weight|blk\.\d+\.attn_rot_embd\.weight")


class Source(NamedTuple):
    """Where a tensor comes from: GGUF's, one `expert` of it if that is a number, and how it lies differently."""

    name: str
    held: Held
    expert: int | None
    change: Change | None


def sources_of(file: GGUFFile, architecture: Architecture) -> dict[str, Source]:
    """Every tensor by its Hugging Face name. Raises `RunError` for one that the architecture does not have."""
    found: dict[str, Source] = {}
    for name, held in file.tensors.items():
        if DERIVED.fullmatch(name):
            continue
        stem, _, ending = name.rpartition(".")
        layer = re.fullmatch(r"blk\.(\d{1,4})\.(.+)", stem)
        short = layer[2] if layer else stem
        theirs = (architecture.layer if layer else architecture.outer).get(short)
        if theirs is None or ending not in ("weight", "bias"):
            raise RunError(f"{held.file} holds a tensor that is not known of the architecture {architecture.word}: {shown(name)}.")
        full = f"{architecture.prefix}{layer[1]}.{theirs}" if layer else theirs
        change = architecture.changes.get(short)
        if "{}" not in full:
            found[f"{full}.{ending}"] = Source(name, held, None, change)
            continue
        if len(held.shape) != 3 or held.shape[0] > 4096:
            raise RunError(f"{held.file}: tensor {shown(name)} of shape {list(held.shape)} is no stack of experts.")
        for expert in range(held.shape[0]):
            found[f"{full.format(expert)}.{ending}"] = Source(name, held, expert, change)
    return found


class DequantisedTensors:
    """The tensors of a GGUF model; plain ones are views of its files, quantised ones become float32."""

    def __init__(self, sources: Mapping[str, Source], config: Mapping[str, Any], device: str = "cpu") -> None:
        self._sources, self._config, self._device = sources, config, device
        self.headers = {name: _header(source) for name, source in sources.items()}

    def on(self, device: str) -> DequantisedTensors:
        return DequantisedTensors(self._sources, self._config, device)

    def __getitem__(self, name: str) -> Tensor:
        source = self._sources[name]
        held = source.held
        if source.expert is not None:
            size = held.size // held.shape[0]
            held = held._replace(shape=held.shape[1:], begin=held.begin + source.expert * size, size=size)
        tensor = _numbers(source.name, held)
        if source.change is not None:
            try:
                tensor = source.change.read(tensor, self._config)
            except RuntimeError as error:
                raise RunError(f"{held.file}: tensor {shown(source.name)} of shape {list(held.shape)} has no such heads.") from error
        return tensor.to(self._device)


def _header(source: Source) -> Header:
    shape = source.held.shape if source.expert is None else source.held.shape[1:]
    if source.change is TURNED:
        shape = shape[::-1]
    return Header(source.held.kind if source.held.kind in PLAIN else "F32", shape)


def _numbers(name: str, held: Held) -> Tensor:
    """A tensor as it lies in the file, dequantised."""
    if held.kind in PLAIN:
        return mapped(Piece(held.file, held.begin, Header(held.kind, held.shape)), name)
    import torch

    _, numbers, width = next(each for each in TYPES.values() if each[0] == held.kind)
    columns = held.shape[-1]
    rows, row = math.prod(held.shape[:-1]), columns // numbers * width
    data = mapped(Piece(held.file, held.begin, Header("U8", (rows, row))), name)
    found = torch.empty(rows, columns)
    step = max(1, BLOCK // max(1, columns))
    for at in range(0, rows, step):
        _dequantise(held.kind, data[at : at + step], found[at : at + step])
    return found.view(held.shape)


def _dequantise(kind: str, data: Tensor, found: Tensor) -> None:
    import torch

    if kind == "Q8_0":  # the same numbers in a third of the time
        blocks = data.reshape(-1, 34)
        scales = blocks[:, :2].contiguous().view(torch.float16).float()
        found.view(-1, 32).copy_(blocks[:, 2:].view(torch.int8)).mul_(scales)
        return
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    found.copy_(torch.from_numpy(dequantize(data.numpy(), GGMLQuantizationType[kind])))
