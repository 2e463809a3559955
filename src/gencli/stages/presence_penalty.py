"""Presence penalty: a fixed price for every token that appeared at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gencli.stages import knob

if TYPE_CHECKING:
    from gencli.candidates import Candidates
    from gencli.memory import Memory


@dataclass(frozen=True)
class PresencePenalty:
    """Subtract the penalty once from the logit of every token that appeared; negative values invite repetition."""

    place: ClassVar[float] = 21
    source: ClassVar[str] = "OpenAI API reference, presence_penalty"
    reads: ClassVar[str] = "token"

    penalty: float = knob(
        "float", 0.0, "Subtracted once from the logit of every seen token; 0 changes nothing.", neutral=0.0, low=-100.0, high=100.0
    )
    last: int = knob("int", 0, "How many of the latest tokens count; 0 counts all.", low=0)
    scope: str = knob("choice", "prompt+output", "Which tokens count.", choices=("prompt+output", "output"))

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.penalty == 0.0:
            return candidates
        from gencli.memory import reweigh

        return reweigh(candidates, memories, self.last, self.scope, lambda logits, times: logits - self.penalty)
