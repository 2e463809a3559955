"""Epsilon cutoff: only tokens of at least a fixed probability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gencli.stages import knob

if TYPE_CHECKING:
    from gencli.candidates import Candidates
    from gencli.memory import Memory


@dataclass(frozen=True)
class EpsilonCutoff:
    """Keep tokens whose probability is at least epsilon; the likeliest always stays. 0 keeps all."""

    place: ClassVar[float] = 85
    source: ClassVar[str] = "Hewitt, Manning and Liang 2022, Truncation Sampling as Language Model Desmoothing (arXiv:2210.15191)"
    reads: ClassVar[str] = "rank"

    epsilon: float = knob(
        "float",
        0.0,
        "Smallest probability that stays: 0.0003 to 0.0009 are usual; 0 keeps all.",
        neutral=0.0,
        low=0.0,
        high=1.0,
        open="high",
    )

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.epsilon == 0:
            return candidates
        borders = math.log(self.epsilon) + candidates.log_total
        return candidates.at_least(borders.minimum(candidates.peak)[:, 0].tolist())

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        return f"{100 * before.probability(row, token_id):.3g} % < {100 * self.epsilon:.3g} %"
