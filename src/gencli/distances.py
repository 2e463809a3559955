"""How far two distributions over the same tokens are apart, row by row. Knows no stage, model or text."""

from __future__ import annotations

import torch
from torch import Tensor


def jensen_shannon(one: Tensor, other: Tensor) -> Tensor:
    """(rows,) float64: the Jensen-Shannon distance in base 2 between distributions (rows, n); 0 equal, 1 disjoint.

    The square root of the divergence (Endres and Schindelin 2003), which makes it a metric.
    """
    middle = ((one + other) / 2).log2()
    parts = [torch.where(each > 0, each * (each.log2() - middle), 0.0).sum(dim=1) for each in (one, other)]
    return ((parts[0] + parts[1]) / 2).clamp(0.0, 1.0).sqrt()


def redrawn(one: Tensor, other: Tensor) -> Tensor:
    """(rows,) float64: the probability that one uniform number draws different tokens from two distributions (rows, n).

    The draw walks the ids in order; a token is drawn from both where its two intervals overlap.
    """
    ends = [each.cumsum(dim=1) for each in (one, other)]
    starts = [end - each for end, each in zip(ends, (one, other), strict=True)]
    same = (torch.minimum(*ends) - torch.maximum(*starts)).clamp_(min=0.0).sum(dim=1)
    changed = (1 - same).clamp_(min=0.0)
    return torch.where((one == other).all(dim=1), torch.zeros_like(changed), changed)


def kept_sets(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(rows,) int64 each, of logits (rows, n) where -inf is removed: tokens kept by both, by the first alone, by the other alone."""
    first, second = one > -torch.inf, other > -torch.inf
    return (first & second).sum(dim=1), (first & ~second).sum(dim=1), (second & ~first).sum(dim=1)
