"""Temperature: how sharp the distribution is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gencli.stages import knob

if TYPE_CHECKING:
    from gencli.candidates import Candidates
    from gencli.memory import Memory

SMALLEST = 1e-30  # below it float32 logits overflow; every gap of theirs already decides at it


@dataclass(frozen=True)
class Temperature:
    """Divide the logits by the temperature: below 1 sharpens, above 1 flattens, 0 is the arg-max."""

    place: ClassVar[float] = 50
    source: ClassVar[str] = "Ackley, Hinton and Sejnowski 1985, A learning algorithm for Boltzmann machines"

    temperature: float = knob(
        "float", 1.0, "Below 1 sharpens, above 1 flattens, 0 always takes the likeliest.", neutral=1.0, low=0.0, high=100.0
    )

    @property
    def reads(self) -> str:
        return "scale" if self.temperature else "rank"

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.temperature == 0:
            return candidates.top(1)
        if self.temperature == 1:
            return candidates
        return candidates.divided(max(self.temperature, SMALLEST))

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        return "temperature 0 keeps only the likeliest token"
