"""Min-p: only tokens at least so likely as a share of the likeliest one."""

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
class MinP:
    """Keep tokens whose probability is at least p times that of the likeliest token. 0 keeps all."""

    place: ClassVar[float] = 80
    source: ClassVar[str] = "Nguyen et al. 2024, Turning Up the Heat: Min-p Sampling (arXiv:2407.01082)"
    reads: ClassVar[str] = "rank"

    p: float = knob(
        "float", 0.0, "Smallest probability that stays, as a share of the likeliest token's; 0 keeps all.", neutral=0.0, low=0.0, high=1.0
    )

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.p == 0:
            return candidates
        # p_i < p * p_max is logit_i < max + log p: the normaliser cancels
        least = math.log(self.p)
        return candidates.at_least([peak + least for peak in candidates.peak[:, 0].tolist()])

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        probability, highest = before.probability(row, token_id), 1 / float(before.total[row])
        return f"{100 * probability:.3g} % < {self.p:g} x {100 * highest:.3g} %"
