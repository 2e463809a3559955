"""Distributions that try a stage: random ones of every steepness, ties, removed tokens, one survivor, all equal, one token."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def hard_distributions(count: int = 1000, seed: int = 7) -> Iterator[Tensor]:
    """`count` rows (1, n) of float64 logits, n from 1 to 200; at least one token is left in each."""
    generator = torch.Generator().manual_seed(seed)

    def whole(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    for number in range(count):
        size = 1 if number % 50 == 0 else whole(2, 200)
        scale = 10 ** (whole(-200, 130) / 100)
        row = torch.randn((1, size), dtype=torch.float64, generator=generator) * scale
        kind = number % 5
        if kind == 1:  # ties
            row = (row / scale * 2).round() * scale / 2
        if kind == 2:  # removed tokens, down to one survivor in every fourth
            left = 1 if number % 20 == 2 else whole(1, size)
            row[0, torch.randperm(size, generator=generator)[left:]] = -torch.inf
        if kind == 3 and number % 4 == 0:  # all as likely
            row[:] = scale
        yield row
