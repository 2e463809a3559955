"""What the extra `fast` adds: products, and whole decode steps, compiled for this processor. Knows no model; loads Numba only when asked.

What a kind of weights needs is compiled once a machine and kept in Numba's cache. A program is a list of
instructions that a team of threads carries out without going back to Python.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from gencli.compiled.program import Product

NEEDED = ("avx2", "fma", "f16c")  # what the tiles are made of


@cache
def available() -> bool:
    """Whether the extra is installed, this processor has what it needs, and torch computes with libgomp."""
    try:
        import llvmlite.binding
        import numba  # noqa: F401  # the extra may be half there
    except ImportError:
        return False
    features = llvmlite.binding.get_host_cpu_features()
    if not all(features.get(name) for name in NEEDED):
        return False
    from gencli.compiled.program import team

    return team() is not None


def product(
    kind: str, weight: Tensor, scales: Tensor | None = None, bias: Tensor | None = None, many: Callable[[Tensor], Tensor] | None = None
) -> Product:
    """x (N, in) float32 -> (N, out) float32 for `weight` (out, in) of this kind; `scales` and `bias` (out,) are float32.

    `many` computes the same, faster where N is large.
    """
    from gencli.compiled.program import Product, weights

    return Product(weights(kind, weight, scales, bias), many)


_threads: list[threading.Thread] = []


def compile_meanwhile(kind: str) -> None:
    """Have the code ready soon, while a checkpoint is read."""

    def work() -> None:
        if available():
            from gencli.compiled.program import code

            code(kind)

    thread = threading.Thread(target=work, name="gencli-compile", daemon=True)
    thread.start()
    _threads.append(thread)


def ready(seconds: float | None = None) -> bool:
    """Whether everything that was begun is compiled; waits for it, `seconds` a piece at most."""
    while _threads:
        _threads[0].join(seconds)
        if _threads[0].is_alive():
            return False
        _threads.pop(0)
    return True
