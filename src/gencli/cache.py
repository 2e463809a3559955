"""What attention need not compute again: keys and values of every layer, allocated once. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gencli.errors import RunError, UsageError

if TYPE_CHECKING:
    from gencli.models import Model


class KVCache:
    """Keys and values (rows, kv_heads, capacity, head_dim) a layer; the first `length` positions are filled.

    A forward pass says by `begin` how many positions it brings, hands each layer's new keys and values
    to `update`, and ends with `advance`.
    """

    def __init__(
        self,
        layers: int,
        rows: int,
        kv_heads: int,
        capacity: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        """Raises `RunError` where the memory for `capacity` positions cannot be had."""
        self.length = 0
        self.capacity = capacity
        try:
            # memory that is not written to yet costs nothing, so a large capacity is cheap; a layer at a time,
            # since a system may refuse at once what it grants in parts
            shape = (2, rows, kv_heads, capacity, head_dim)
            self._layers = [torch.empty(shape, dtype=dtype, device=device) for _ in range(layers)]
        except (RuntimeError, MemoryError) as error:
            raise RunError(f"there is no memory for the KV cache of {rows} x {capacity} positions; ask for less of both.") from error
        self._coming = 0

    @classmethod
    def of(cls, model: Model, rows: int = 1, capacity: int | None = None) -> KVCache:
        """An empty cache for a model: `capacity` positions, the whole context where it is None."""
        return cls(model.layers, rows, model.kv_heads, capacity or model.context, model.head_dim, device=model.device)

    @property
    def rows(self) -> int:
        return self._layers[0].shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes allocated: 2 x layers x rows x kv_heads x capacity x head_dim x bytes a number."""
        return sum(layer.nbytes for layer in self._layers)

    def begin(self, count: int) -> None:
        """Make ready for `count` positions after what is filled. Raises `UsageError` where the capacity is exceeded."""
        end = self.length + count
        if end > self.capacity:
            raise UsageError(f"the KV cache holds {self.capacity} positions, and {end} are asked for.")
        self._coming = count

    def update(self, layer: int, new: Tensor) -> Tensor:
        """Write a layer's keys and values `new` (2, rows, kv_heads, T, head_dim): a view of all there are, the new ones included."""
        held = self._layers[layer]
        held.narrow(3, self.length, self._coming).copy_(new)
        return held.narrow(3, 0, self.length + self._coming)

    def advance(self) -> None:
        """Count the positions that `begin` told of as filled, once every layer has written them."""
        self.length += self._coming
        self._coming = 0

    def rewind(self, length: int) -> None:
        """Forget what stands at `length` and after it. Raises `UsageError` for more than is filled."""
        if not 0 <= length <= self.length:
            raise UsageError(f"a KV cache of {self.length} positions cannot be rewound to {length}.")
        self.length = length

    def fork(self, rows: int) -> KVCache:
        """A cache of `rows` rows, each a copy of this one's only row."""
        return self._select([0] * rows)

    def keep(self, rows: Sequence[int]) -> KVCache:
        """A cache of these rows only, in this order."""
        return self._select(rows)

    def _select(self, rows: Sequence[int]) -> KVCache:
        first = self._layers[0]
        _, _, kv_heads, capacity, head_dim = first.shape
        chosen = KVCache(len(self._layers), len(rows), kv_heads, capacity, head_dim, first.dtype, first.device)
        index = torch.tensor(rows, dtype=torch.int64, device=first.device)
        for old, new in zip(self._layers, chosen._layers, strict=True):
            new.narrow(3, 0, self.length).copy_(old.narrow(3, 0, self.length).index_select(1, index))
        chosen.length = self.length
        return chosen
