"""Top-a: only tokens at least so likely as a share of the likeliest one's probability, squared."""

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
class TopA:
    """Keep tokens whose probability is at least a times the square of the likeliest token's. 0 keeps all."""

    place: ClassVar[float] = 81  # the standard place: after min_p, as `gencli stages` shows
    source: ClassVar[str] = "BlinkDL, RWKV-LM"
    reads: ClassVar[str] = "rank"

    a: float = knob("float", 0.0, "Share of the highest probability, squared; 0 keeps all.", neutral=0.0, low=0.0, high=1.0)

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.a == 0:
            return candidates
        # the likeliest token's probability is 1 / total
        borders = candidates.peak[:, 0] + math.log(self.a) - candidates.total[:, 0].log()
        return candidates.at_least(borders.tolist())

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        probability, highest = before.probability(row, token_id), 1 / float(before.total[row])
        return f"{100 * probability:.3g} % < {self.a:g} x ({100 * highest:.3g} %)²"
