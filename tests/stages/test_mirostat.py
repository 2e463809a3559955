"""Mirostat: both versions against the formulas worked out slowly, the limit's way, and the target that it keeps to."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch

from distributions import hard_distributions
from gencli.candidates import Candidates
from gencli.drawing import draw
from gencli.memory import Memory
from gencli.pipeline import Pipeline
from gencli.stages import build
from gencli.stages.mirostat import Mirostat


def mirostat(**knobs: Any) -> Mirostat:
    stage: Mirostat = build("mirostat", Mirostat, knobs)
    return stage


def at_limit(limit: float) -> Memory:
    memory = Memory([0])
    memory.note(0, limit)
    return memory


def probabilities(row: torch.Tensor) -> list[tuple[float, int]]:
    """The survivors' probabilities with their ids, likeliest first."""
    logits = row[0].tolist()
    total = math.fsum(math.exp(logit - max(logits)) for logit in logits)
    pairs = [(math.exp(logit - max(logits)) / total, at) for at, logit in enumerate(logits) if logit > -math.inf]
    return sorted(pairs, key=lambda pair: (-pair[0], pair[1]))


def slow_version_2(row: torch.Tensor, limit: float) -> list[int]:
    ranked = probabilities(row)
    left = [token for p, token in ranked if p > 0 and -math.log2(p) <= limit + 1e-10]
    return sorted(left or [ranked[0][1]])


def slow_version_1(row: torch.Tensor, limit: float) -> list[int]:
    """k = (e 2^limit / (1 - N^-e)) ^ (1 / s) with s the least squares slope of log-probabilities over log-ranks' steps."""
    ranked = [(p, token) for p, token in probabilities(row) if p > 0]
    best, count = [p for p, _ in ranked[:100]], len(ranked)
    if count == 1:
        return [ranked[0][1]]
    ratios = [math.log((rank + 1) / rank) for rank in range(1, len(best))]
    drops = [math.log(one / other) for one, other in pairwise(best)]
    slope = sum(t * b for t, b in zip(ratios, drops, strict=True)) / sum(t * t for t in ratios)
    if slope == 0:
        k = float(count) if 2**limit >= count - 1 else 1.0
    else:
        e = slope - 1
        share = math.log(count) if e == 0 else (1 - count**-e) / e
        log_k = math.log(2**limit / share) / slope
        k = float(count) if log_k > math.log(count) else math.exp(log_k)
    return sorted(token for _, token in ranked[: max(1, int(k))])


@pytest.mark.parametrize(("version", "slow"), [(1, slow_version_1), (2, slow_version_2)])
def test_agrees_with_the_formulas(kept, version: int, slow: Any) -> None:
    limits = torch.empty(1000, dtype=torch.float64).uniform_(0, 14, generator=torch.Generator().manual_seed(1)).tolist()
    stage, cut = mirostat(target=3, version=version), 0
    for row, limit in zip(hard_distributions(), limits, strict=True):
        # exp underflows beyond these gaps, where the slow way has no logarithm
        row = row.where((row > row.amax() - 700) | (row == -torch.inf), row.amax() - 700)
        left = kept(stage(Candidates(row), [at_limit(limit)]))
        assert left == slow(row, limit)
        cut += 1 < len(left) < int((row > -torch.inf).sum())
    assert cut > 200  # the agreement is about cuts, not about trifles


def log(*shares: float) -> torch.Tensor:
    return torch.tensor([[math.log(share) for share in shares]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("limit", "left"), [(-3.0, [0]), (0.5, [0]), (1.0, [0]), (1.9, [0]), (2.0, [0, 1]), (2.9, [0, 1]), (3.0, [0, 1, 2, 3])]
)
def test_version_2_in_numbers(kept, limit: float, left: list[int]) -> None:
    assert kept(mirostat(target=1)(Candidates(log(1 / 2, 1 / 4, 1 / 8, 1 / 8)), [at_limit(limit)])) == left


def test_among_ties_above_the_limit_the_lowest_id_stays(kept) -> None:
    flat = Candidates(torch.tensor([[-torch.inf, *[0.0] * 8]]))
    assert kept(mirostat(target=1)(flat, [Memory([0])])) == [1]  # 3 bits each, and the limit is 2
    assert kept(mirostat(target=1.5)(flat, [Memory([0])])) == list(range(1, 9))  # at the limit


def test_version_1_in_numbers(kept) -> None:
    """A perfect Zipf law with exponent 1: the limit allows k = 2^limit / ln N tokens."""
    law = log(*(1 / rank for rank in range(1, 1001)))
    for limit in (3.0, 5.0, 7.5):
        left = kept(mirostat(target=3, version=1)(Candidates(law), [at_limit(limit)]))
        assert left == list(range(int(2**limit / math.log(1000))))


def test_the_limit_moves_by_the_miss() -> None:
    stage, memory = mirostat(target=3, learning_rate=0.5), Memory([0])
    assert stage._limit(memory) == 6.0  # twice the target
    stage.drawn(7, -5 * math.log(2), memory)  # two bits more than wanted
    assert memory.noted(0) == pytest.approx(5.0)
    memory.append(7)
    stage.drawn(8, -1 * math.log(2), memory)
    assert memory.noted(0) == pytest.approx(6.0)
    memory.append(8)
    stage.drawn(9, -math.inf, memory)
    assert memory.noted(0) == pytest.approx(6.0)
    memory.rewind(1)
    assert memory.noted(0) == pytest.approx(5.0)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("target", [1.5, 3.0, 5.0])
def test_the_mean_surprise_reaches_the_target(version: int, target: float) -> None:
    """Over a power law with noise, whose own entropy is about 7 bits.

    No false alarm by chance: the noise is fixed, and the mean miss is (first limit - last limit) / (rate x steps), so
    that it is small wherever the limit stays within some bits.
    """
    steps, generator = 1500, torch.Generator().manual_seed(5)
    law = -torch.arange(1, 1001, dtype=torch.float64).log()
    pipeline = Pipeline([("mirostat", mirostat(target=target, version=version))])
    memory, surprises = Memory([0], seed=3), []
    for _ in range(steps):
        logits = (law + 0.5 * torch.randn(1000, dtype=torch.float64, generator=generator))[None]
        final = pipeline(Candidates(logits), [memory])
        ids = draw(final, [memory.uniform()])
        surprises.append(-math.log2(final.probability(0, ids[0])))
        pipeline.drawn(final, ids, [memory])
        memory.append(ids[0])
    mean, last = sum(surprises) / steps, memory.noted(0)
    assert mean - target == pytest.approx((2 * target - last) / (0.1 * steps), abs=1e-6)
    assert abs(mean - target) < 0.15


def test_two_of_them_keep_two_limits(kept) -> None:
    pipeline = Pipeline([("mirostat", mirostat(target=2)), ("mirostat", mirostat(target=4))])
    memory = Memory([0])
    pipeline.drawn(pipeline(Candidates(log(1 / 2, 1 / 4, 1 / 4)), [memory]), [1], [memory])
    assert (memory.noted(0), memory.noted(1)) == (pytest.approx(4 - 0.1 * (2 - 2)), pytest.approx(8 - 0.1 * (2 - 4)))


def test_because() -> None:
    assert mirostat(target=2).because(Candidates(log(1 / 2, 1 / 4, 1 / 8, 1 / 8)), 0, 3) == (
        "a surprise of 3 bits is beyond this step's limit (target 2)"
    )
