"""Dynamic temperature: sharp where the model is sure, flat where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gencli.stages import knob

if TYPE_CHECKING:
    from torch import Tensor

    from gencli.candidates import Candidates
    from gencli.memory import Memory


SMALLEST = 1e-30  # below it float32 logits overflow; every gap of theirs already decides at it


@dataclass(frozen=True)
class DynamicTemperature:
    """Divide the logits by a temperature that rises with the entropy, from temperature - range to temperature + range.

    The entropy counts as a share of the largest that so many tokens can have; the exponent bends the way between the
    two ends. A range of 0 turns the stage off; the temperature alone is the stage `temperature`.
    """

    place: ClassVar[float] = 51
    source: ClassVar[str] = "kalomaze 2023, dynamic temperature (koboldcpp pull requests 464 and 600; llama.cpp pull request 4972)"

    range: float = knob("float", 0.0, "How far the temperature goes to either side; 0 is off.", neutral=0.0, low=0.0, high=100.0)
    temperature: float = knob("float", 1.0, "The middle of the range; what would fall below 0 is 0.", low=0.0, high=100.0)
    exponent: float = knob("float", 1.0, "Above 1 keeps the temperature low until the entropy is high.", low=0.0, high=100.0, open="low")

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.range == 0:
            return candidates
        return candidates.with_logits(candidates.logits / self.temperatures(candidates).to(candidates.logits.dtype))

    def temperatures(self, candidates: Candidates) -> Tensor:
        """(rows, 1) float64: the temperature that each row's entropy asks for; 1 where one token is left."""
        low, high = max(0.0, self.temperature - self.range), self.temperature + self.range
        kept = candidates.kept()[:, None]
        share = (candidates.entropy / kept.double().log()).clamp(0.0, 1.0)
        return (low + (high - low) * share**self.exponent).clamp(min=SMALLEST).masked_fill(kept == 1, 1.0)
