"""The shelf of precisions: how a linear layer holds and multiplies its weights. Knows no model.

Activations, the KV cache and logits are float32 under every precision here; only weights differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Precision(Protocol):
    """What every precision offers; `bytes_per_weight` is what a weight takes in memory."""

    bytes_per_weight: ClassVar[float]

    def __init__(self, device: str = "cpu") -> None:
        """Raises `UsageError` where this machine or `device` cannot compute with it."""
        ...

    def hold(self, table: Tensor) -> Tensor:
        """A table of embeddings in this precision; `linear` takes it too, for a tied head."""
        ...

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        """x (N, in) float32 -> x @ weight.T + bias (N, out) float32, for `weight` (out, in) of any float type."""
        ...
