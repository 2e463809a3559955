"""Repetition penalty: what was already said becomes less likely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gencli.stages import knob

if TYPE_CHECKING:
    from torch import Tensor

    from gencli.candidates import Candidates
    from gencli.memory import Memory


@dataclass(frozen=True)
class RepetitionPenalty:
    """Divide the positive logits of tokens that appeared by the penalty, multiply the negative ones; once each."""

    place: ClassVar[float] = 20
    source: ClassVar[str] = "Keskar et al. 2019, CTRL (arXiv:1909.05858)"
    reads: ClassVar[str] = "token"
    aliases: ClassVar[tuple[str, ...]] = ("repeat_penalty",)

    penalty: float = knob(
        "float", 1.0, "Above 1 makes seen tokens less likely: 1.1 mild, 1.5 strong; 1 changes nothing.", neutral=1.0, low=0.01, high=100.0
    )
    last: int = knob("int", 0, "How many of the latest tokens count; 0 counts all.", low=0)
    scope: str = knob("choice", "prompt+output", "Which tokens count.", choices=("prompt+output", "output"))

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.penalty == 1.0:
            return candidates
        from gencli.memory import reweigh

        return reweigh(candidates, memories, self.last, self.scope, self._rule)

    def _rule(self, logits: Tensor, times: Tensor) -> Tensor:
        # of quotient and product, the smaller (for a penalty below 1 the larger) is the one its sign asks for
        divided, multiplied = logits / self.penalty, logits * self.penalty
        return divided.minimum(multiplied) if self.penalty > 1 else divided.maximum(multiplied)
