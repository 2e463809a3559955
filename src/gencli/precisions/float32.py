"""Weights in float32: exact, and mostly not even copied where the file has them so. Knows no model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from gencli import compiled

# oneDNN reads a large weight at twice the speed of torch's own product at few rows, but costs some
# 10 us more a call (measured on AVX2 and AVX-512): from this many weights on it is the faster one
WORTH_ONEDNN = 1 << 18


class Float32:
    """What checkpoints are compared by; four bytes a weight."""

    bytes_per_weight: ClassVar[float] = 4
    loss: ClassVar[float] = 0

    def __init__(self, device: str = "cpu", fast: bool = False) -> None:
        self._fast = fast and device == "cpu" and compiled.available()
        self._onednn = device == "cpu" and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        if self._fast:
            compiled.compile_meanwhile("float32")

    def hold(self, table: Tensor) -> Tensor:
        return table.float()

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        weight = weight.float()
        bias = bias.float() if bias is not None else None
        product: Callable[[Tensor], Tensor] = partial(F.linear, weight=weight, bias=bias)
        if self._onednn and weight.numel() >= WORTH_ONEDNN:
            # rows side by side are read a quarter faster than a transposed view: worth one copy
            weight = weight.contiguous()
            product = partial(_onednn, weight, bias)
        return compiled.product("float32", weight, None, bias, product) if self._fast else product


def _onednn(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product
