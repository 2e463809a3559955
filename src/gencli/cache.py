"""What attention need not compute again: keys and values of every layer, allocated once. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gencli.allocator import in_large_pages
from gencli.errors import RunError, UsageError

if TYPE_CHECKING:
    from gencli.models import Model


class Keeps(Protocol):
    """What attention needs of whatever holds keys and values."""

    def update(self, layer: int, new: Tensor) -> Tensor:
        """Write a layer's keys and values `new` (2, rows, kv_heads, T, head_dim): a view of all there are, the new ones included."""
        ...


class KVCache:
    """Keys and values (2, rows, kv_heads, capacity, head_dim) a layer; of row r the first `lengths[r]` positions are filled.

    A forward pass says by `begin` how many positions it brings, hands each layer's new keys and values
    to `update`, and ends with `advance`. `layers` may be written to directly in between.
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
        large_pages: bool = False,
    ) -> None:
        """`large_pages`: faster to read, and taken as a whole by the first positions; for a capacity that will be used.

        Raises `RunError` where the memory for `capacity` positions cannot be had.
        """
        self.lengths: npt.NDArray[np.int64] = np.zeros(rows, np.int64)
        self.capacity, self._large_pages = capacity, large_pages
        self._allocated, self._finite, self._coming = rows, 0, 0
        try:
            # a processor's memory that is not written to yet costs nothing, so a large capacity is cheap; a device's costs
            # all the same, and graphs need numbers there. A layer at a time, since a system may refuse at once what it grants in parts
            shape, new = (2, rows, kv_heads, capacity, head_dim), torch.empty if torch.device(device).type == "cpu" else torch.zeros
            self.layers = [new(shape, dtype=dtype, device=device) for _ in range(layers)]
            if large_pages and new is torch.empty:
                for layer in self.layers:
                    in_large_pages(layer.data_ptr(), layer.nbytes)
        except (RuntimeError, MemoryError) as error:
            raise RunError(f"there is no memory for the KV cache of {rows} x {capacity} positions; ask for less of both.") from error

    @classmethod
    def of(cls, model: Model, rows: int = 1, capacity: int | None = None, large_pages: bool = False) -> KVCache:
        """An empty cache for a model: `capacity` positions, the whole context where it is None."""
        sizes = model.layers, rows, model.kv_heads, capacity or model.context, model.head_dim
        return cls(*sizes, device=model.device, large_pages=large_pages)

    @property
    def rows(self) -> int:
        return len(self.lengths)

    @property
    def length(self) -> int:
        """The filled positions of the longest row."""
        return int(self.lengths.max())

    @property
    def even(self) -> bool:
        """Whether every row is as long as the others."""
        return int(self.lengths.min()) == self.length

    @property
    def nbytes(self) -> int:
        """Bytes of these rows: 2 x layers x rows x kv_heads x capacity x head_dim x bytes a number."""
        return sum(layer.nbytes for layer in self.layers)

    def begin(self, count: int) -> None:
        """Make ready for `count` positions after what is filled, one where rows differ. Raises `UsageError` beyond the capacity."""
        end = self.length + count
        if end > self.capacity:
            raise UsageError(f"the KV cache holds {self.capacity} positions, and {end} are asked for.")
        self._coming = count
        if self.even:
            self._finite = self.length  # every row has numbers up to there

    def update(self, layer: int, new: Tensor) -> Tensor:
        """Write a layer's keys and values `new` (2, rows, kv_heads, T, head_dim): a view of all there are, the new ones included.

        A row shorter than the longest one ends with positions that mean nothing, but are numbers.
        """
        held = self.layers[layer]
        if self.even:
            held.narrow(3, self.length, self._coming).copy_(new)
        else:
            for row, length in enumerate(self.lengths.tolist()):
                held[:, row, :, max(length, self._finite) : self.length + 1] = 0
            rows = torch.arange(self.rows, device=held.device)
            held[:, rows, :, torch.from_numpy(self.lengths).to(held.device)] = new[:, :, :, 0].transpose(0, 1)
        return held.narrow(3, 0, self.length + self._coming)

    def advance(self) -> None:
        """Count the positions that `begin` told of as filled, once every layer has written them."""
        if not self.even:
            self._finite = max(self._finite, self.length + 1)
        self.lengths += self._coming
        self._coming = 0

    def rewind(self, length: int, row: int | None = None) -> None:
        """Forget what stands at `length` and after it, in one row or in all. Raises `UsageError` for more than is filled."""
        held = self.lengths if row is None else self.lengths[row : row + 1]
        if not 0 <= length <= held.min():
            raise UsageError(f"a KV cache of {held.min()} positions cannot be rewound to {length}.")
        held[:] = length

    def row(self, number: int) -> KVCache:
        """One row as a cache of its own, in the same memory: what it takes in stands here too."""
        return self._over([layer.narrow(1, number, 1) for layer in self.layers], self.lengths[number : number + 1])

    def keep(self, rows: Sequence[int]) -> KVCache:
        """A cache of these rows only, in this order.

        They move up within the same memory where they can and more than half of it stays in use, else into new.
        """
        if 2 * len(rows) <= self._allocated or any(one >= other for one, other in pairwise(rows)):
            return self._copied(rows, len(rows))
        for place, row in enumerate(rows):
            if place != row:
                length = int(self.lengths[row])
                for layer in self.layers:
                    layer[:, place, :, :length].copy_(layer[:, row, :, :length])
        return self._over([layer.narrow(1, 0, len(rows)) for layer in self.layers], self.lengths[list(rows)])

    def fork(self, rows: int) -> KVCache:
        """A cache of `rows` rows, each a copy of this one's only row."""
        return self._copied([0] * rows, rows)

    def join(self, other: KVCache) -> KVCache:
        """A cache of these rows and, behind them, those of another one of the same model."""
        joined = self._copied(range(self.rows), self.rows + other.rows, max(self.capacity, other.capacity))
        for row in range(other.rows):
            length = int(other.lengths[row])
            for old, new in zip(other.layers, joined.layers, strict=True):
                new[:, self.rows + row, :, :length].copy_(old[:, row, :, :length])
            joined.lengths[self.rows + row] = length
        return joined

    def _over(self, layers: list[Tensor], lengths: npt.NDArray[np.int64]) -> KVCache:
        view = KVCache.__new__(KVCache)
        view.layers, view.lengths = layers, lengths
        view._large_pages = self._large_pages
        view.capacity, view._allocated, view._finite, view._coming = self.capacity, self._allocated, 0, 0
        return view

    def _copied(self, rows: Sequence[int], count: int, capacity: int | None = None) -> KVCache:
        """A new cache of `count` rows, of which the first are these."""
        first = self.layers[0]
        sizes = len(self.layers), count, first.shape[2], capacity or self.capacity, first.shape[4]
        chosen = KVCache(*sizes, first.dtype, first.device, self._large_pages)
        index = torch.tensor(list(rows), dtype=torch.int64, device=first.device)
        length = self.length
        for old, new in zip(self.layers, chosen.layers, strict=True):
            new[:, : len(index), :, :length].copy_(old.narrow(3, 0, length).index_select(1, index))
        chosen.lengths[: len(index)] = self.lengths[list(rows)]
        return chosen
