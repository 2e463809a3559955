"""XTC: now and then exclude the top choices, so that a less obvious one comes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gencli.stages import knob

if TYPE_CHECKING:
    from gencli.candidates import Candidates
    from gencli.memory import Memory


COIN = 1  # the purpose of this stage's noise: never the draw's own number


@dataclass(frozen=True)
class Xtc:
    """With that probability, remove every token of at least the threshold but the least likely of them (exclude top choices).

    The coin is thrown at each step, from the seed, sample and step; two such stages see the same coin. Where fewer than
    two tokens reach the threshold, nothing happens; so it is with every threshold above 0.5. Of ties the highest id stays.
    """

    place: ClassVar[float] = 90
    source: ClassVar[str] = "p-e-w 2024, Exclude Top Choices (text-generation-webui pull request 6335)"

    probability: float = knob(
        "float", 0.0, "How often the top choices go, as a share of the steps: 0.5 is usual; 0 is never.", neutral=0.0, low=0.0, high=1.0
    )
    threshold: float = knob("float", 0.1, "From which probability on a token is a top choice.", low=0.0, high=1.0, open="low")

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.probability == 0:
            return candidates
        from gencli.candidates import places

        borders = (candidates.log_total + math.log(self.threshold))[:, 0].tolist()
        excluded = {}
        for row, (border, memory) in enumerate(zip(borders, memories, strict=True)):
            if memory.uniform(COIN) >= self.probability:
                continue
            top = places(candidates.logits[row], border)
            if len(top) > 1:
                order = candidates.logits[row][top].sort(descending=True, stable=True).indices
                excluded[row] = candidates.token_ids()[row][top[order[:-1]]]
        return candidates.without_each(excluded) if excluded else candidates

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        probability = 100 * before.probability(row, token_id)
        return f"a top choice, {probability:.3g} % >= {100 * self.threshold:.3g} %, and not the least likely of them"
