"""Tail-free sampling: cut where the sorted probabilities stop bending."""

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

ROUNDING = 1e-12  # a share this close to z does not exceed it


@dataclass(frozen=True)
class TailFree:
    """Keep the likeliest tokens before the tail, where the sorted probabilities hardly bend any more.

    The bends are the absolute second differences of the sorted probabilities, divided by their sum; the tail
    begins where their running sum exceeds z. Two tokens or fewer have no tail; 1 keeps all.
    """

    place: ClassVar[float] = 65
    source: ClassVar[str] = "Bricken 2019, Tail Free Sampling (trentbrick.github.io/Tail-Free-Sampling)"
    aliases: ClassVar[tuple[str, ...]] = ("tfs",)

    z: float = knob("float", 1.0, "Share of the curve's bends that stays in play; 1 keeps all.", neutral=1.0, low=0.0, high=1.0)

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.z == 1 or candidates.width <= 2:
            return candidates
        from gencli.selection import largest

        counts = [_before_the_tail(logits, self.z) for logits in candidates.logits]
        rows = zip(candidates.logits, counts, strict=True)
        return candidates.select([largest(logits, count) if count else largest(logits, len(logits)) for logits, count in rows])

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        return f"rank {before.rank(row, token_id)} > {_before_the_tail(before.logits[row], self.z)}, where the tail begins"


def _before_the_tail(logits: Tensor, z: float) -> int:
    """How many of the likeliest of a row (n,) come before its tail; 0 where nothing bends."""
    import numpy as np

    from gencli.selection import descending

    kept = int((logits > -math.inf).sum())
    if kept <= 2 or not float(logits.amax()) < math.inf:
        return 0
    count = 0
    for best in descending(logits):
        weights = np.exp(best[:kept] - best[0])
        bends = np.abs(np.diff(weights, 2)).cumsum()
        # what follows only falls: its bends sum to no more than twice the height from which they fall
        rest = 2 * float(weights[-2]) if len(weights) < kept else 0.0
        count, at_most = (1 + int(bends.searchsorted(z * each * (1 + ROUNDING), side="right")) for each in (bends[-1], bends[-1] + rest))
        if bends[-1] > 0 and count == at_most <= len(bends):
            return count
    return count if bends[-1] > 0 else 0
