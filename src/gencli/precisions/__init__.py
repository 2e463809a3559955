"""The shelf of precisions: how a linear layer holds and multiplies its weights. Knows no model.

What goes into a product, what comes out, the KV cache and logits are float32 under every precision;
weights differ, and what a product does to its activations on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Precision(Protocol):
    """What every precision offers.

    `bytes_per_weight` is what a weight of a linear layer takes in memory. `loss` is what a text of the
    embedded checkpoint's kind costs more than in float32: per cent of its bits per byte, as measured.
    """

    bytes_per_weight: ClassVar[float]
    loss: ClassVar[float]

    def __init__(self, device: str = "cpu", fast: bool = True) -> None:
        """`fast`: compiled products where they are to be had (the extra `fast`), which take a second to come up.

        Raises `UsageError` where this machine or `device` cannot compute with it.
        """
        ...

    def hold(self, table: Tensor) -> Tensor:
        """A table of embeddings in this precision; `linear` takes it too, for a tied head."""
        ...

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        """x (N, in) float32 -> x @ weight.T + bias (N, out) float32, for `weight` (out, in) of any float type."""
        ...
