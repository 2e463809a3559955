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

    A forward pass hands each layer's new keys and values to `update` and ends with `advance`.
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
        shape = (rows, kv_heads, capacity, head_dim)
        self.length = 0
        self.capacity = capacity
        try:
            # memory that is not written to yet costs nothing, so a large capacity is cheap
            self._keys = [torch.empty(shape, dtype=dtype, device=device) for _ in range(layers)]
            self._values = [torch.empty(shape, dtype=dtype, device=device) for _ in range(layers)]
        except (RuntimeError, MemoryError) as error:
            raise RunError(f"there is no memory for the KV cache of {rows} x {capacity} positions; ask for less of both.") from error

    @classmethod
    def of(cls, model: Model, rows: int = 1, capacity: int | None = None) -> KVCache:
        """An empty cache for a model: `capacity` positions, the whole context where it is None."""
        return cls(model.layers, rows, model.kv_heads, capacity or model.context, model.head_dim, device=model.device)

    @property
    def rows(self) -> int:
        return self._keys[0].shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes allocated: 2 x layers x rows x kv_heads x capacity x head_dim x bytes a number."""
        return sum(tensor.nbytes for tensor in (*self._keys, *self._values))

    def update(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write `keys` and `values` (rows, kv_heads, T, head_dim) after what is filled; views of all of a layer's.

        Raises `UsageError` where the capacity is exceeded.
        """
        count = keys.shape[2]
        end = self.length + count
        if end > self.capacity:
            raise UsageError(f"the KV cache holds {self.capacity} positions, and {end} are asked for.")
        all_keys, all_values = self._keys[layer], self._values[layer]
        all_keys.narrow(2, self.length, count).copy_(keys)
        all_values.narrow(2, self.length, count).copy_(values)
        return all_keys.narrow(2, 0, end), all_values.narrow(2, 0, end)

    def advance(self, count: int) -> None:
        """Count `count` more positions as filled, once every layer has written them."""
        self.length += count

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
        layers, (_, kv_heads, capacity, head_dim) = len(self._keys), self._keys[0].shape
        first = self._keys[0]
        chosen = KVCache(layers, len(rows), kv_heads, capacity, head_dim, first.dtype, first.device)
        index = torch.tensor(rows, dtype=torch.int64, device=first.device)
        pairs = zip([*self._keys, *self._values], [*chosen._keys, *chosen._values], strict=True)
        for old, new in pairs:
            new.narrow(2, 0, self.length).copy_(old.narrow(2, 0, self.length).index_select(0, index))
        chosen.length = self.length
        return chosen
