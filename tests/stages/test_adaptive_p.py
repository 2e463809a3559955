"""Adaptive-p: against its definition worked out slowly, step by step, and the probability that it keeps to."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from distributions import hard_distributions
from gencli.candidates import Candidates
from gencli.drawing import draw
from gencli.memory import Memory
from gencli.pipeline import Pipeline
from gencli.stages import build
from gencli.stages.adaptive_p import AdaptiveP


def adaptive(**knobs: Any) -> AdaptiveP:
    stage: AdaptiveP = build("adaptive_p", AdaptiveP, knobs)
    return stage


class Slow:
    """The published definition, a token at a time, in Python's own numbers."""

    def __init__(self, target: float, decay: float) -> None:
        self.target, self.decay = target, decay
        self.total, self.weight = target / (1 - decay), 1 / (1 - decay)

    def logits(self, row: torch.Tensor) -> list[float]:
        logits = row[0].tolist()
        total = math.fsum(math.exp(logit - max(logits)) for logit in logits)
        self.before = [math.exp(logit - max(logits)) / total for logit in logits]
        aim = min(max(2 * self.target - self.total / self.weight, 0), 1)
        distances = [abs(p - aim) / 0.3 for p in self.before]
        return [-math.inf if logit == -math.inf else 5 - 10 * d**2 / (1 + d) for logit, d in zip(logits, distances, strict=True)]

    def drawn(self, token: int) -> None:
        self.total = self.before[token] + self.decay * self.total
        self.weight = 1 + self.decay * self.weight


@pytest.mark.parametrize(("target", "decay"), [(0.4, 0.9), (0.05, 0.5), (1.0, 0.99), (0.7, 0.0)])
def test_agrees_with_its_definition_along_a_text(target: float, decay: float) -> None:
    slow, memory = Slow(target, decay), Memory([0], seed=1)
    pipeline = Pipeline([("adaptive_p", adaptive(target=target, decay=decay))])
    for row in hard_distributions(1000 if decay == 0.9 else 100):
        final = pipeline(Candidates(row), [memory])
        torch.testing.assert_close(final.logits, torch.tensor([slow.logits(row)], dtype=torch.float64), rtol=1e-12, atol=1e-12)
        ids = draw(final, [memory.uniform()])
        pipeline.drawn(final, ids, [memory])
        memory.append(ids[0])
        slow.drawn(ids[0])


def test_numbers() -> None:
    """Half, a quarter, a quarter; at a target of a half the first is at the peak, the others 0.25 / 0.3 away."""
    row = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64).log()
    away = 0.25 / 0.3
    other = 5 - 10 * away**2 / (1 + away)
    assert adaptive(target=0.5)(Candidates(row), [Memory([0])]).logits[0].tolist() == pytest.approx([5.0, other, other])


def test_after_likely_tokens_it_aims_lower() -> None:
    """One certain token: the mean is (1 + 0.9 x 0.5 / 0.1) / (1 + 0.9 / 0.1) = 0.55, so the next target is 0.45."""
    pipeline, memory = Pipeline([("adaptive_p", adaptive(target=0.5))]), Memory([0])
    sure = Candidates(torch.tensor([[0.0, -torch.inf]], dtype=torch.float64))
    pipeline.drawn(pipeline(sure, [memory]), [0], [memory])
    memory.append(0)
    at_aim = Candidates(torch.tensor([[0.45, 0.55]], dtype=torch.float64).log())
    assert pipeline(at_aim, [memory]).logits[0, 0].item() == pytest.approx(5.0)
    memory.rewind(0)
    assert pipeline(Candidates(torch.tensor([[0.0, 0.0]])), [memory]).logits[0].tolist() == pytest.approx([5.0, 5.0])


def test_a_given_token_that_was_removed_does_not_count() -> None:
    pipeline, memory = Pipeline([("adaptive_p", adaptive(target=0.5))]), Memory([0])
    final = pipeline(Candidates(torch.tensor([[0.0, -torch.inf]])), [memory])
    pipeline.drawn(final, [1], [memory])
    assert memory.noted(0) == (pytest.approx(5.0), pytest.approx(10.0), None)


def test_asking_twice_changes_nothing() -> None:
    """A step may be looked at as often as one likes: only the draw teaches."""
    stage, memory = adaptive(target=0.3), Memory([0])
    row = Candidates(torch.randn((1, 30), dtype=torch.float64, generator=torch.Generator().manual_seed(2)))
    assert torch.equal(stage(row, [memory]).logits, stage(row, [memory]).logits)


def test_what_a_step_saw_is_not_kept() -> None:
    """The note after the draw holds two numbers, not the distribution."""
    pipeline, memory = Pipeline([("adaptive_p", adaptive(target=0.3))]), Memory([0])
    for _ in range(3):
        final = pipeline(Candidates(torch.zeros((1, 5))), [memory])
        pipeline.drawn(final, [2], [memory])
        memory.append(2)
    assert [note[2] for _, note in memory._notes[0]] == [None] * 3


def mean_probability(*stages: tuple[str, Any]) -> float:
    """Of 1000 tokens drawn from random distributions over eight tokens, before the stages."""
    generator = torch.Generator().manual_seed(8)
    pipeline, memory, drawn = Pipeline(stages), Memory([0], seed=2), []
    for _ in range(1000):
        before = Candidates(2 * torch.randn((1, 8), dtype=torch.float64, generator=generator))
        final = pipeline(before, [memory])
        ids = draw(final, [memory.uniform()])
        drawn.append(before.probability(0, ids[0]))
        pipeline.drawn(final, ids, [memory])
        memory.append(ids[0])
    return sum(drawn) / 1000


def test_the_mean_probability_follows_the_target() -> None:
    """The noise is fixed: no false alarm by chance."""
    means = {target: mean_probability(("adaptive_p", adaptive(target=target))) for target in (0.2, 0.4, 0.6)}
    assert all(abs(mean - target) < 0.05 for target, mean in means.items())
    assert means[0.2] + 0.1 < mean_probability() < means[0.6] - 0.1  # what plain sampling draws lies between
