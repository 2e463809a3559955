"""Decode steps on a CUDA device as graphs: recorded once, then replayed without a call for every kernel. Knows no model.

A graph repeats the same kernels on the same memory, so that a step's lengths are read from memory and
attention goes over a fixed number of positions, of which those that do not count yet are masked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

if TYPE_CHECKING:
    from gencli.cache import KVCache

TOGETHER = 512  # positions by which what attention goes over grows: a graph each
WARM_UPS = 3  # runs before a graph is recorded: libraries set up their workspaces in the first ones

Work = Callable[[], Tensor]


@dataclass
class Places:
    """A KV cache as a graph sees it: memory for `end` positions of each layer, and how many of them each row holds (rows,) int64.

    Everything in it must be finite numbers: a position that is masked counts 0 times what stands there. In `read` the
    step leaves what else it reads that somebody could drop before the graph.
    """

    layers: list[Tensor]
    lengths: Tensor
    end: int
    read: object = None
    _rows: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self._rows = torch.arange(len(self.lengths), device=self.lengths.device)

    def update(self, layer: int, new: Tensor) -> Tensor:
        """Write a layer's keys and values `new` (2, rows, kv_heads, 1, head_dim) behind each row's: a view of the first `end` positions."""
        held = self.layers[layer]
        held[:, self._rows, :, self.lengths] = new[:, :, :, 0].transpose(0, 1)
        return held.narrow(3, 0, self.end)


@dataclass
class _Recorded:
    """A step for a cache as it is now: the memory that it reads its ids and lengths from, and how it is done again."""

    ids: Tensor
    places: Places
    again: Work


class Graphs:
    """Runs `step`, which computes logits (rows, vocabulary) from ids (rows, 1) and `Places`, as a graph a cache.

    Where a graph cannot be recorded, steps are computed call by call.
    """

    def __init__(self, step: Callable[[Tensor, Places], Tensor], record: Callable[[Work], Work] | None = None) -> None:
        self._step, self._record = step, record or recorded
        self._held: WeakKeyDictionary[KVCache, _Recorded] = WeakKeyDictionary()

    def run(self, ids: Tensor, cache: KVCache) -> Tensor:
        """Logits (rows, 1, vocabulary) after `ids` (rows, 1), which the cache takes in. Raises `UsageError` beyond its capacity."""
        cache.begin(1)
        held = self._held.get(cache)
        if held is None or cache.length >= held.places.end:
            held = self._held[cache] = self._new(ids, cache)
        held.ids.copy_(ids)
        held.places.lengths.copy_(torch.from_numpy(cache.lengths))
        logits = held.again()
        cache.advance()
        return logits[:, None].clone()  # the next step writes to the same memory

    def _new(self, ids: Tensor, cache: KVCache) -> _Recorded:
        end = min(cache.capacity, (cache.length // TOGETHER + 1) * TOGETHER)
        # a step that is run twice writes the same to the same places, so that recording it spoils nothing
        places = Places(cache.layers, torch.from_numpy(cache.lengths).to(ids.device, copy=True), end)
        own = ids.clone()

        def work() -> Tensor:
            return self._step(own, places)

        try:
            return _Recorded(own, places, self._record(work))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # an operation that this device cannot record
            self._record = _as_it_is
            return _Recorded(own, places, work)


def _as_it_is(work: Work) -> Work:
    return work


def recorded(work: Work) -> Work:
    """What `work` does on the CUDA device that is in use, as a graph; its result is written to the same memory each time."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()

    def again() -> Tensor:
        graph.replay()
        return result

    return again
