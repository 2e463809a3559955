"""Top-p: the smallest set of likeliest tokens that holds a share p of the probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gencli.stages import knob

if TYPE_CHECKING:
    from gencli.candidates import Candidates
    from gencli.memory import Memory

FIRST_LOOK = 256  # a language model's nucleus mostly lies within so many tokens
WIDER = 16  # each further look is so many times wider, up to the whole vocabulary


@dataclass(frozen=True)
class TopP:
    """Keep the smallest set, likeliest first, whose cumulative probability reaches p (nucleus sampling).

    At least one token stays; the set is complete as soon as its sum equals p; 1 keeps all.
    """

    place: ClassVar[float] = 70
    source: ClassVar[str] = "Holtzman et al. 2020, The Curious Case of Neural Text Degeneration (arXiv:1904.09751)"

    p: float = knob("float", 1.0, "Share of the probability that stays in play; 1 keeps all.", neutral=1.0, low=0.0, high=1.0, open="low")

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.p == 1 or candidates.width == 1:
            return candidates
        look = min(FIRST_LOOK, candidates.width)
        while True:
            # a partial sort decides it: the normaliser is that of all candidates, not of those looked at
            best = candidates.logits.topk(look, dim=1).values
            reached = ((best - candidates.peak).exp().double() / candidates.total).cumsum(dim=1) >= self.p
            if look == candidates.width or bool(reached[:, -1].all()):
                break
            look = min(look * WIDER, candidates.width)
        # rounding may leave the whole sum a hair under p: then all are needed
        last = (~reached).sum(dim=1, keepdim=True).clamp(max=look - 1)
        return candidates.keep_top(last + 1, best.gather(1, last))

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        mass = before.mass_above(row, token_id)
        return f"the likelier tokens already hold {100 * mass:.4g} % >= {100 * self.p:.4g} %"
