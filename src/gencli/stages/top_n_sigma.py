"""Top-n-sigma: only logits within n standard deviations of the largest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gencli.stages import knob

if TYPE_CHECKING:
    from torch import Tensor

    from gencli.candidates import Candidates
    from gencli.memory import Memory


@dataclass(frozen=True)
class TopNSigma:
    """Keep tokens whose logit is at most n standard deviations below the largest logit. 0 is off.

    The deviation is that of all logits in play. A temperature scales both, so the set is the same at any temperature.
    """

    place: ClassVar[float] = 40
    source: ClassVar[str] = "Tang et al. 2024, Top-nσ: Not All Logits Are You Need (arXiv:2411.07641)"

    n: float = knob("float", 0.0, "Distance from the largest logit in standard deviations: 1 is usual; 0 is off.", neutral=0.0, low=0.0)

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.n == 0:
            return candidates
        peaks = candidates.peak[:, 0].tolist()
        return candidates.at_least([peak - self.n * _deviation(row) for peak, row in zip(peaks, candidates.logits, strict=True)])

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        peak, sigma = float(before.peak[row]), _deviation(before.logits[row])
        return f"logit {before.logit(row, token_id):.4g} < {peak:.4g} - {self.n:g} x {sigma:.4g}"


def _deviation(logits: Tensor) -> float:
    """The standard deviation of a row's (n,) logits, those of removed tokens left out."""
    alive = logits if float(logits.amin()) > -math.inf else logits[logits > -math.inf]
    gaps = (alive - alive.amax()).double() if len(alive) else alive
    return float((gaps - gaps.mean()).square_().mean().sqrt())
