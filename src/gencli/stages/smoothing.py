"""Smoothing: bend the logits, so that what is far from the likeliest falls off fast and what is near it evens out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gencli.stages import knob

if TYPE_CHECKING:
    from gencli.candidates import Candidates
    from gencli.memory import Memory


LOWEST = -1e10  # a gap beyond it weighs nothing, and its cube still is a number


@dataclass(frozen=True)
class Smoothing:
    """Replace each logit's distance d to the largest by factor x ((3 - curve) / 2 x d² + (curve - 1) / 2 x d³). 0 is off.

    A curve of 1 is the square alone (quadratic sampling), 3 the cube alone. Above 3 the tokens closest to the likeliest
    overtake it.
    """

    place: ClassVar[float] = 52
    source: ClassVar[str] = "kalomaze 2024, quadratic sampling (text-generation-webui pull requests 5403 and, with the curve, 5551)"

    factor: float = knob("float", 0.0, "How steep the bend is: 0.2 to 0.5 are usual; 0 is off.", neutral=0.0, low=0.0, high=100.0)
    curve: float = knob("float", 1.0, "How much of the bend is cubic: 1 nothing of it, 3 all.", low=1.0, high=10.0)

    @property
    def reads(self) -> str:
        return "token" if self.curve <= 3 else ""  # beyond, a smaller logit may end up larger

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.factor == 0:
            return candidates
        gaps = (candidates.logits - candidates.peak).clamp_(min=LOWEST)
        square, cube = self.factor * (3 - self.curve) / 2, self.factor * (self.curve - 1) / 2
        bent = gaps.square() * (cube * gaps - square) + candidates.peak
        return candidates.with_logits(bent.masked_fill(candidates.logits == -math.inf, -math.inf))
