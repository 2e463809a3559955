"""Weights in float16, sums in float32: half the memory, about twice the speed. Knows no model.

On x86 processors activations stay float32: compiled where the extra `fast` is there, and then the weights of a
float16 file are not even copied, else packed by FBGEMM. Elsewhere (ARM, CUDA, MPS) a product takes activations in
float16 as well: what they are beyond 65,504 is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from gencli import compiled


class Float16:
    """Two bytes a weight; lossless for checkpoints that are stored in float16."""

    bytes_per_weight: ClassVar[float] = 2
    loss: ClassVar[float] = 0

    def __init__(self, device: str = "cpu", fast: bool = True) -> None:
        self._packs = device == "cpu" and "fbgemm" in torch.backends.quantized.supported_engines
        self._fast = fast and self._packs and compiled.available()
        if self._fast:
            compiled.compile_meanwhile("float16")

    def hold(self, table: Tensor) -> Tensor:
        return table.half()

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        bias = bias.float() if bias is not None else None
        if self._fast:
            return compiled.product("float16", weight.half(), None, bias)
        if self._packs:
            packed = torch.ops.quantized.linear_prepack_fp16(weight.float().contiguous(), bias)
            product: Callable[..., Tensor] = torch.ops.quantized.linear_dynamic_fp16
            return lambda x: product(x, packed)
        return halves(weight, bias)


def halves(weight: Tensor, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """torch's own product of float16 numbers, on any device."""
    weight = weight.half().contiguous()

    def product(x: Tensor) -> Tensor:
        result = F.linear(x.half(), weight).float()
        return result if bias is None else result.add_(bias)

    return product
