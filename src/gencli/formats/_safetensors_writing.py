"""Writes a safetensors file, tensor by tensor. Knows no folder and no tokenizer."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from gencli.errors import RunError, shown
from gencli.formats import DTYPES, Tensors
from gencli.formats._mapped import TORCH

if TYPE_CHECKING:
    from torch import Tensor

FLOATS = ("F64", "F32", "F16", "BF16")
BLOCK = 1 << 22  # numbers that are written at a time


def write_safetensors(file: BinaryIO, tensors: Tensors, kind: str, told: Callable[[int, int], object]) -> None:
    """All tensors, floats as `kind` ("F32", "F16"); `told` hears of the bytes done and in all. Raises what `blocks` raises."""
    kinds = {name: kind if header.dtype in FLOATS else header.dtype for name, header in tensors.headers.items()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name in sorted(kinds):
        shape = tensors.headers[name].shape
        size = math.prod(shape) * DTYPES[kinds[name]] // 8
        header[name] = {"dtype": kinds[name], "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    data = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    data += b" " * (-len(data) % 64 + 56)  # so that numbers begin at a multiple of 64, after these eight bytes
    file.write(len(data).to_bytes(8, "little") + data)
    done = 0
    for name in sorted(kinds):
        for block in blocks(name, tensors[name], kinds[name]):
            file.write(block)
            done += len(block)
            told(done, at)


def blocks(name: str, tensor: Tensor, kind: str) -> Iterator[bytes]:
    """A tensor's bytes as `kind`, some rows at a time. Raises `RunError` for a number that float16 cannot hold."""
    import torch

    rows = tensor.reshape(-1, tensor.shape[-1] if tensor.dim() else 1)
    step = max(1, BLOCK // max(1, rows.shape[1]))
    for at in range(0, len(rows), step):
        block = rows[at : at + step].contiguous()
        found = block.to(getattr(torch, TORCH[kind]))
        if kind == "F16":
            refuse_overflow(name, block, found)
        yield found.view(torch.uint8).numpy().tobytes() if found.numel() else b""


def refuse_overflow(name: str, before: Tensor, after: Tensor) -> None:
    """Raises `RunError` where numbers became infinite."""
    lost = after.isinf() & before.isfinite()
    if lost.any():
        largest = before[lost].abs().max().item()
        raise RunError(f"tensor {shown(name)} holds {largest:.3g}, which float16 cannot hold; write float32.")
