"""A stage beside its reference, over a thousand distributions of every kind: the same tokens kept, the same logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from gencli.candidates import Candidates
from gencli.memory import Memory

ROWS = 1000
GONE = -torch.inf
Reference = Callable[[Any, Tensor, Memory], Tensor]


@cache
def rows() -> tuple[Tensor, ...]:
    """(1, n) float64 logits, n from 1 to 200, from nearly flat to steep.

    In each ten: a vocabulary of one, one survivor, all equal, two with ties, two with removed tokens.
    """
    generator = torch.Generator().manual_seed(20240918)
    found = []
    for number in range(ROWS):
        kind = number % 10
        size = 1 if kind == 0 else int(torch.randint(2, 201, (), generator=generator))
        scale = 10 ** float(torch.empty(()).uniform_(-2, 1.3, generator=generator))
        row = torch.randn((1, size), dtype=torch.float64, generator=generator) * scale
        if kind == 1:
            row[0, torch.randperm(size, generator=generator)[1:]] = GONE
        elif kind == 2:
            row[:] = row[0, 0]
        elif kind in (3, 4):
            row = (row / scale * 2).round() / 2 * scale
        elif kind in (5, 6):
            row[0, torch.randperm(size, generator=generator)[: size // 3]] = GONE
        found.append(row)
    return tuple(found)


def remembered(number: int, size: int) -> Memory:
    """A memory of up to 40 tokens of so small a vocabulary, a part of them generated; few different ones, so that they repeat."""
    generator = torch.Generator().manual_seed(number)
    prompt, output = torch.randint(1, 30, (2,), generator=generator).tolist()
    ids = torch.randint(0, min(size, 5), (prompt + output % 12,), generator=generator).tolist()
    memory = Memory(ids[:prompt], seed=number)
    for token in ids[prompt:]:
        memory.append(token)
    return memory


def agrees(
    stages: Sequence[Any], reference: Reference, margin: Reference | None = None, *, coarse: float = 1e-5, all_ties: bool = False
) -> None:
    """Each row under one of the stages in turn, in float64 and in float32, beside `reference(stage, row, memory)` in float64.

    `margin` gives how far (n,) what decides about each token lies from the border: in float64 a difference may lie
    within 1e-9 of it, in float32 within 1e-5. Beside it only ties may be told apart, and then ours keeps the lowest
    ids and as many as the reference; fewer where the reference keeps all that are tied (`all_ties`). Logits agree to
    1e-12 of the largest, in float32 to `coarse`.
    """
    for number, row in enumerate(rows()):
        stage, size = stages[number % len(stages)], row.shape[1]
        memory = remembered(number, size)
        theirs = reference(stage, row.clone(), memory)[0]
        theirs = theirs if bool((theirs > GONE).any()) else row[0]  # ours never leaves nothing
        near = torch.full((size,), torch.inf, dtype=torch.float64) if margin is None else margin(stage, row, memory)
        ours = stage(Candidates(row), [memory]).spread(size)[0]
        _same(ours, theirs, row[0], near < 1e-9, 1e-12, all_ties)
        narrow = stage(Candidates(row.float()), [memory]).spread(size)[0]
        _same(narrow.double(), ours, row[0], near < 1e-5, coarse)


def _same(ours: Tensor, theirs: Tensor, row: Tensor, excused: Tensor, tolerance: float, all_ties: bool = False) -> None:
    kept, wanted = ours > GONE, theirs > GONE
    differing = (kept ^ wanted) & ~excused
    for value in row[differing].unique():
        tied = row == value
        assert int(tied.sum()) > 1, f"a logit of {value} is kept by one of the two alone"
        if bool(kept[tied].any()) and not bool(kept[tied].all()):
            assert int(tied.logical_and(kept).nonzero().max()) < int(tied.logical_and(~kept).nonzero().min())
    fewer = int(wanted.sum()) - int(kept.sum())
    assert -int(excused.sum()) <= fewer
    assert all_ties or fewer <= int(excused.sum())
    both = kept & wanted
    if not bool(both.any()):
        return
    scale = max(1.0, float(theirs[both].abs().max()))
    assert bool(((ours[both] - theirs[both]).abs() <= tolerance * scale).all())


def log_probs(row: Tensor) -> Tensor:
    """(n,) the log-probabilities of a row (1, n)."""
    return row[0].log_softmax(0)


def order(keys: Tensor) -> Tensor:
    """The places of (n,) keys, the lowest first, among ties the lowest place first."""
    return keys.sort(stable=True).indices


def mass_before(keys: Tensor, weights: Tensor) -> Tensor:
    """(n,) the weights that come before each place where the lowest key comes first."""
    places = order(keys)
    sums = weights[places].cumsum(0) - weights[places]
    return torch.empty_like(sums).index_copy_(0, places, sums)


def cut_margin(keys: Tensor, weights: Tensor, limit: float) -> Tensor:
    """(n,) how far each place is from the border of the beginning whose weights reach a limit: by weight or by key."""
    before = mass_before(keys, weights)
    last = keys[before < limit].max() if bool((before < limit).any()) else keys.min()
    return torch.minimum((before - limit).abs(), apart(keys, last))


def apart(keys: Tensor, border: Tensor) -> Tensor:
    """(n,) how far keys lie from a border; what is tied with it is not close but the same, and far."""
    gaps = (keys - border).abs().nan_to_num(torch.inf)
    return gaps.masked_fill(gaps == 0, torch.inf)
