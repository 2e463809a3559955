"""One decode step of a stack of layers as a program: rows of any lengths, a token each. Knows no family and no layer's file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gencli.compiled import slots as at
from gencli.compiled.program import PLAIN, Instruction, Ints, Norm, Product, Table, Unfit, attend, multiply, running

if TYPE_CHECKING:
    from gencli.cache import KVCache


class Step:
    """Layers add their instructions with `multiply` and `attend`; `logits` ends it, `run` carries it out.

    Between instructions numbers stand in buffers (rows, width) by name; "x" is what the layers add to.
    """

    def __init__(self) -> None:
        self._work: list[Instruction] = []
        self._wires: list[tuple[str, str]] = []  # the buffers that an instruction reads and writes
        self._widths: dict[str, int] = {}
        self._kind = ""
        self._table: Table | None = None
        self._buffers: dict[str, Tensor] = {}
        self._parts: Tensor | None = None
        self._cache: Any = None
        self._attends: Ints = np.empty(0, np.int64)
        self._heads = self._head_dim = 0

    def multiply(
        self, linear: Any, x: str, result: str, norm: Norm = PLAIN, activation: str = "none", gated: bool = False, add: bool = False
    ) -> None:
        """A linear layer from buffer to buffer. Raises `Unfit` for a layer whose weights are not compiled or of another kind."""
        if not isinstance(linear, Product) or linear.held.kind != (self._kind or linear.held.kind):
            raise Unfit
        self._kind = linear.held.kind
        outputs = linear.held.outputs // 2 if gated else linear.held.outputs
        for name, width in ((x, linear.held.inputs), (result, outputs)):
            if self._widths.setdefault(name, width) != width:
                raise Unfit
        self._add(multiply(linear.held, norm, activation, gated, add), x, result)

    def attend(self, qkv: str, result: str, heads: int, kv_heads: int, head_dim: int, scale: float, rotary: bool) -> None:
        """Attention from queries, keys and values side by side to mixed values. Raises `Unfit` where a head is no multiple of 8 wide."""
        if head_dim % 8 or self._widths.get(qkv) != (heads + 2 * kv_heads) * head_dim:
            raise Unfit
        self._widths[result] = heads * head_dim
        self._heads, self._head_dim = heads, head_dim
        for each in attend(heads, kv_heads, head_dim, scale, rotary):
            self._add(each, qkv, result)

    def _add(self, instruction: Instruction, x: str, result: str) -> None:
        self._work.append(instruction)
        self._wires.append((x, result))

    def run(self, x: Tensor, cache: KVCache, angles: tuple[Tensor, Tensor] | None) -> Tensor:
        """x (rows, width) of a token a row, after what the cache holds -> the last buffer (rows, width); the cache takes the token in.

        `angles` are cos and sin (positions, head_dim) from position 0 on, where heads are rotated.
        """
        with running:
            return self._run(x, cache, angles)

    def _run(self, x: Tensor, cache: KVCache, angles: tuple[Tensor, Tensor] | None) -> Tensor:
        rows = len(x)
        table = self._ready(rows, cache)
        self._buffers["x"][:rows] = x
        last = self._wires[-1][1]
        result = torch.empty(rows, self._widths[last])
        table.slots[-1, at.RESULT] = result.data_ptr()
        parts = cache.length // at.PART + 1
        self._place_parts(table, rows, parts)
        cos, sin = (each.data_ptr() for each in angles) if angles else (0, 0)
        cache.begin(1)
        table.run(rows, cache.lengths, parts, cos, sin)
        cache.advance()
        return result

    def _ready(self, rows: int, cache: KVCache) -> Table:
        table = self._table or Table(self._kind, self._work)
        if table is not self._table or len(self._buffers["x"]) < rows:
            self._table = table
            last = self._wires[-1][1]
            self._buffers = {name: torch.empty(0 if name == last else rows, width) for name, width in self._widths.items()}
            for row, (x, result) in zip(table.slots, self._wires, strict=True):
                row[[at.X, at.X_STRIDE]] = self._buffers[x].data_ptr(), self._widths[x]
                row[[at.RESULT, at.RESULT_STRIDE]] = self._buffers[result].data_ptr(), self._widths[result]
            self._attends = np.flatnonzero(table.slots[:, at.OP] != at.PRODUCT)
            self._parts = None
        if self._cache is not cache.layers:
            self._cache = cache.layers
            for number, place in enumerate(self._attends):  # an attention and its merging a layer
                held = cache.layers[number // 2]
                slots = [at.KEYS, at.VALUES, at.CACHE_ROW, at.CACHE_HEAD]
                table.slots[place, slots] = held[0].data_ptr(), held[1].data_ptr(), 4 * held.stride(1), 4 * held.stride(2)
        return table

    def _place_parts(self, table: Table, rows: int, parts: int) -> None:
        """Room for what attention finds in each part of the positions: (head_dim) numbers, and two sums behind them all."""
        results = rows * self._heads * parts * self._head_dim
        size = results + 2 * rows * self._heads * parts if parts > 1 else 1
        if self._parts is None or len(self._parts) < size:
            self._parts = torch.empty(size)
        place = self._parts.data_ptr()
        table.slots[self._attends, at.PART_RESULTS] = place
        table.slots[self._attends, at.PART_SUMS] = place + 4 * results
