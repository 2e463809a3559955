"""The beginning of an order, found without sorting all of it. Knows no stage, token or probability."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

SORTED = 2048  # so few are sooner sorted than narrowed down further
SAMPLE = 127  # so many keys are asked where the border lies
FIRST = 4096  # so many of the largest are sorted before all are


def beginning(keys: Tensor, weights: Tensor, limit: float) -> Tensor:
    """The columns, ascending, of the shortest beginning of an order whose weights sum to `limit`; at least one.

    The lowest of `keys` (n,) comes first, the lowest column among ties; `weights` (n,) are not negative. All where
    the limit is never reached; nothing where it is no number.
    """
    if not limit < np.inf:
        return torch.empty(0, dtype=torch.int64)
    key, weight = keys.detach().numpy(), weights.detach().double().numpy()
    low, high, before = -np.inf, np.inf, 0.0  # the border lies in (low, high]; `before` weigh those up to low
    sample = np.unique(key[:: len(key) // SAMPLE]) if len(key) > SORTED else key[:0]
    while len(sample):
        middle = len(sample) // 2
        sum_ = float(np.dot(weight, key <= sample[middle]))
        if sum_ >= limit:
            high, sample = sample[middle], sample[:middle]
        else:
            low, before, sample = sample[middle], sum_, sample[middle + 1 :]
    chosen = key <= low
    doubtful = np.flatnonzero(~chosen & (key <= high))
    order = doubtful[key[doubtful].argsort(kind="stable")]
    sums = before + weight[order].cumsum()
    chosen[order[: int(sums.searchsorted(limit)) + 1]] = True
    return torch.from_numpy(np.flatnonzero(chosen))


def descending(values: Tensor) -> Iterator[NDArray[np.float64]]:
    """The largest of `values` (n,) in falling order, and then, if that was not enough, all of them."""
    array = values.detach().numpy()
    if len(array) > FIRST:
        yield np.sort(np.partition(array, len(array) - FIRST)[-FIRST:])[::-1].astype(np.float64)
    yield np.sort(array)[::-1].astype(np.float64)


def largest(values: Tensor, count: int) -> Tensor:
    """The columns, ascending, of exactly so many of the largest values (n,), the lowest columns first among ties."""
    array = values.detach().numpy()
    count = min(count, len(array))
    border = np.partition(array, len(array) - count)[len(array) - count]
    chosen = array > border
    ties = np.flatnonzero(array == border)
    chosen[ties[: count - int(np.count_nonzero(chosen))]] = True
    return torch.from_numpy(np.flatnonzero(chosen))
