"""Where the extra `fast` serves: few rows go through a compiled product, if there is one. Loads Numba only when asked; knows no model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from gencli.precisions._compiled import Product

WORTH_THREADS = 1 << 16  # multiplications

_compiling = threading.Lock()


def compiled(weights: str) -> Product | None:
    """The product for weights of this precision; None where the extra is not installed or not for this machine."""
    with _compiling:
        return _product(weights)


def compile_meanwhile(weights: str) -> None:
    """Have the product ready soon, while a checkpoint is read."""
    threading.Thread(target=compiled, args=(weights,), name="gencli-compile", daemon=True).start()


@cache
def _product(weights: str) -> Product | None:
    try:
        from gencli.precisions import _compiled
    except ImportError:
        return None
    return _compiled.product(weights)


class FewRows:
    """The compiled product up to `most` rows where there is one, `many` else.

    `weights` (out, in) lie row by row; `scales` and `bias` (out,) are float32.
    """

    def __init__(
        self, kind: str, weights: Tensor, scales: Tensor | None, bias: Tensor | None, many: Callable[[Tensor], Tensor], most: int = 1
    ) -> None:
        self._kind, self._many, self._most = kind, many, most
        self._held = weights, scales, bias  # the product sees their addresses only
        self._addresses = [each.data_ptr() if each is not None else 0 for each in self._held]
        self._outputs, self._inputs = weights.shape

    def __call__(self, x: Tensor) -> Tensor:
        rows, outputs, inputs = len(x), self._outputs, self._inputs
        if rows > self._most or (product := compiled(self._kind)) is None:
            return self._many(x)
        x = x.contiguous()
        result = x.new_empty(rows, outputs)
        parameters = np.array((x.data_ptr(), *self._addresses, result.data_ptr(), rows, outputs, inputs, 0), dtype=np.int64)
        product(parameters, torch.get_num_threads() if rows * outputs * inputs >= WORTH_THREADS else 1)
        return result
