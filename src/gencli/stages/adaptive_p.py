"""Adaptive-p: tokens near a probability are favoured, so that what is drawn keeps to it on average."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gencli.stages import knob

if TYPE_CHECKING:
    from gencli.candidates import Candidates
    from gencli.memory import Memory

PEAK = 5.0  # the logit of a token exactly at the target
SHARPNESS = 10.0  # how fast it falls from there: first as the square of the distance, then in proportion to it
WIDTH = 0.3  # the unit of that distance, a probability


@dataclass(frozen=True)
class AdaptiveP:
    """Give every token a new logit by how far its probability lies from a target that makes up for earlier draws.

    That target is twice the one asked for, minus a mean of the drawn tokens' probabilities (before this stage) in
    which each older one weighs `decay` times the next. It removes nothing, so cut the unlikely before it, with min_p
    for one. 0 is off.
    """

    place: ClassVar[float] = 150
    source: ClassVar[str] = "MrJackSpade and ddh0 2025, adaptive-p (llama.cpp pull request 17927)"

    target: float = knob(
        "float", 0.0, "Probability to favour: 0.3 to 0.5 creative, 0.6 to 0.8 steady; 0 is off.", neutral=0.0, low=0.0, high=1.0
    )
    decay: float = knob("float", 0.9, "Weight of the past: 0.9 is a mean over some 10 tokens.", low=0.0, high=0.99)
    slot: int = 0

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.target == 0:
            return candidates
        import torch

        aims = []
        for row, memory in enumerate(memories):
            total, weight, _ = self._past(memory)
            aims.append(min(max(2 * self.target - total / weight, 0.0), 1.0))
            memory.note(self.slot, (total, weight, (candidates, row)))  # the draw will be judged by these
        target = torch.tensor(aims, dtype=torch.float64)[:, None]
        distance = (candidates.probs() - target).abs_().div_(WIDTH)
        logits = (PEAK - SHARPNESS * distance.square() / (1 + distance)).to(candidates.logits.dtype)
        return candidates.with_logits(logits.masked_fill_(candidates.logits == -torch.inf, -torch.inf))

    def drawn(self, token_id: int, logprob: float, memory: Memory) -> None:
        """Count the token's probability in; one that the pipeline would never have drawn does not count."""
        total, weight, seen = self._past(memory)
        if self.target and seen is not None:
            if logprob > -math.inf:
                candidates, row = seen
                total, weight = candidates.probability(row, token_id) + self.decay * total, 1 + self.decay * weight
            memory.note(self.slot, (total, weight, None))

    def _past(self, memory: Memory) -> tuple[float, float, tuple[Candidates, int] | None]:
        """The weighted sum of drawn probabilities, the weights' sum, and what this step's draw is made from.

        It begins as if the target had been met for ever.
        """
        past: tuple[float, float, tuple[Candidates, int] | None] = memory.noted(
            self.slot, (self.target / (1 - self.decay), 1 / (1 - self.decay), None)
        )
        return past
