"""Weights in float16, activations in float32: half the memory, over twice the speed. Knows no model.

Compiled where the extra `fast` is there, and then the weights of a float16 file are not even copied; else
packed by FBGEMM.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from gencli import compiled
from gencli.errors import UsageError


class Float16:
    """Two bytes a weight; lossless for checkpoints that are stored in float16."""

    bytes_per_weight: ClassVar[float] = 2
    loss: ClassVar[float] = 0

    def __init__(self, device: str = "cpu", fast: bool = True) -> None:
        if device != "cpu" or "fbgemm" not in torch.backends.quantized.supported_engines:
            raise UsageError("precision float16 computes on x86 processors only; choose float32 here.")
        self._fast = fast and compiled.available()
        if self._fast:
            compiled.compile_meanwhile("float16")

    def hold(self, table: Tensor) -> Tensor:
        return table.half()

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        if self._fast:
            return compiled.product("float16", weight.half(), None, bias)
        packed = torch.ops.quantized.linear_prepack_fp16(weight.float().contiguous(), bias.float() if bias is not None else None)
        product: Callable[..., Tensor] = torch.ops.quantized.linear_dynamic_fp16
        return lambda x: product(x, packed)
