"""Weights in float16, activations in float32, by FBGEMM: half the memory, over twice the speed. Knows no model."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from gencli.errors import UsageError


class Float16:
    """Two bytes a weight; lossless for checkpoints that are stored in float16."""

    bytes_per_weight: ClassVar[float] = 2
    loss: ClassVar[float] = 0

    def __init__(self, device: str = "cpu") -> None:
        if device != "cpu" or "fbgemm" not in torch.backends.quantized.supported_engines:
            raise UsageError("precision float16 computes on x86 processors only; choose float32 here.")

    def hold(self, table: Tensor) -> Tensor:
        return table.half()

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        packed = torch.ops.quantized.linear_prepack_fp16(weight.float().contiguous(), bias.float() if bias is not None else None)
        product: Callable[..., Tensor] = torch.ops.quantized.linear_dynamic_fp16
        return lambda x: product(x, packed)
