"""The beginning of an order, found without sorting it all. Knows no stage, token or probability."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

SORTED = 2048  # so few are sooner sorted than narrowed down further
SAMPLE = 127  # so many of them are asked for the middle


def beginning(keys: Tensor, weights: Tensor, limit: float, *, within: bool = False) -> Tensor:
    """The columns, ascending, of the beginning of an order whose weights sum to `limit`; at least one.

    The lowest of `keys` (n,) comes first, the lowest column among ties. The beginning is the shortest whose
    sum reaches `limit`, or with `within` the longest whose sum does not exceed it. `weights` (n,) are not
    negative. Nothing is chosen where the limit is no number. Each round halves what is in doubt.
    """
    if not limit < np.inf:
        return torch.empty(0, dtype=torch.int64)
    key, weight = keys.detach().cpu().numpy(), weights.detach().cpu().numpy()
    doubtful, sure, total = np.arange(len(key)), [], 0.0
    while len(key) > SORTED:
        middle = np.median(key[:: len(key) // SAMPLE])
        low = key <= middle
        low = key < middle if low.all() else low
        if not low.any():
            break  # ties: their order is that of the columns
        reached = total + float(weight[low].sum(dtype=np.float64))
        if reached > limit or (reached == limit and not within):
            rest = low
        else:
            sure.append(doubtful[low])
            total, rest = reached, ~low
        key, weight, doubtful = key[rest], weight[rest], doubtful[rest]
    order = key.argsort(kind="stable")
    sums = total + weight[order].cumsum(dtype=np.float64)
    count = int(sums.searchsorted(limit, side="right")) if within else int(sums.searchsorted(limit)) + 1
    sure.append(doubtful[order[: count if sure else max(1, count)]])
    return torch.from_numpy(np.sort(np.concatenate(sure))).to(keys.device)
