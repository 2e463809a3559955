"""Weights in 8 bits with a scale an output: half of float16's memory, and faster for it. Knows no model.

With the extra `fast` activations are rounded to 16 bits, each row with a scale of its own. Without it they
are rounded to 8 bits where the processor's whole-number product is exact (VNNI and its like), else the
weights become float32 for the moment of the product.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from gencli import compiled
from gencli.errors import UsageError

LARGEST = 127
BLOCK = 1 << 22  # weights that are float32 at a time: bounds what a product takes beside the model


class Int8:
    """One byte a weight, and four an output."""

    bytes_per_weight: ClassVar[float] = 1
    loss: ClassVar[float] = 0.06

    def __init__(self, device: str = "cpu", fast: bool = True) -> None:
        if device != "cpu":
            raise UsageError("precision int8 computes on processors only; choose float16 here.")
        self._fast = fast and compiled.available()
        if self._fast:
            compiled.compile_meanwhile("int8")

    def hold(self, table: Tensor) -> Tensor:
        return table  # few of its rows are read at a time: they stay in the file, unrounded

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        weights, scales = rounded(weight)
        bias = bias.float().contiguous() if bias is not None else None
        if self._fast:
            return compiled.product("int8", weights, scales, bias)
        # of a single input the integer product mistakes the layout
        if weight.shape[1] > 1 and exact_integers():
            return _integers(weights, scales, bias)
        return partial(_floats, weights, scales, bias)


def rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """`weight` (out, in) as whole numbers from -127 to 127 and a scale (out,) float32, block by block."""
    numbers = torch.empty(weight.shape, dtype=torch.int8)
    scales = torch.empty(len(weight))
    rows = max(1, BLOCK // weight.shape[1])
    for start in range(0, len(weight), rows):
        block = weight[start : start + rows].float()
        scale = block.abs().amax(1, keepdim=True).div_(LARGEST).clamp_min_(torch.finfo(torch.float32).tiny)
        numbers[start : start + rows] = (block / scale).round_()
        scales[start : start + rows] = scale[:, 0]
    return numbers, scales


@cache
def exact_integers() -> bool:
    """Whether this machine multiplies 8-bit numbers without saturating: asked of the largest there are."""
    x, weight = torch.full((17, 256), LARGEST, dtype=torch.int8), torch.full((32, 256), LARGEST, dtype=torch.int8)
    try:
        products = [torch._int_mm(sign * x[:rows], weight.t()) * sign for sign in (1, -1) for rows in (1, 17)]
        return all(bool((product == 256 * LARGEST**2).all()) for product in products)
    except (AttributeError, RuntimeError):
        return False


def _integers(weights: Tensor, scales: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    transposed, scales = weights.t(), scales / LARGEST

    def product(x: Tensor) -> Tensor:
        largest = x.abs().amax(1, keepdim=True)
        numbers = (x * (LARGEST / largest.clamp_min(1e-30))).round_().to(torch.int8)
        result = (torch._int_mm(numbers, transposed) * largest).mul_(scales)
        return result if bias is None else result.add_(bias)

    return product


def _floats(weights: Tensor, scales: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    rows = max(1, BLOCK // weights.shape[1])
    parts = [F.linear(x, block.float()) for block in torch.split(weights, rows)]
    result = (parts[0] if len(parts) == 1 else torch.cat(parts, 1)).mul_(scales)
    return result if bias is None else result.add_(bias)
