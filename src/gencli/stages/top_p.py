"""Top-p: the smallest set of likeliest tokens that holds a share p of the probability."""

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

SORTED = 4096  # so many candidates are cheaper sorted than narrowed down further
NARROW = 1e-5  # a bracket of weights no wider than this holds ties, which only a sort puts in order
ROUNDING = 1e-12  # a sum this close to p has reached it: of ten equal tokens, p = 0.7 keeps seven


@dataclass(frozen=True)
class TopP:
    """Keep the smallest set, likeliest first, whose cumulative probability reaches p (nucleus sampling).

    At least one token stays; the set is complete as soon as its sum equals p; among ties the lowest
    ids stay; 1 keeps all.
    """

    place: ClassVar[float] = 70
    source: ClassVar[str] = "Holtzman et al. 2020, The Curious Case of Neural Text Degeneration (arXiv:1904.09751)"

    p: float = knob("float", 1.0, "Share of the probability that stays in play; 1 keeps all.", neutral=1.0, low=0.0, high=1.0, open="low")

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.p == 1 or candidates.width == 1:
            return candidates
        totals = candidates.total[:, 0].tolist()
        rows = zip(candidates.logits, candidates.weights, totals, strict=True)
        return candidates.select([_nucleus(logits, weights, total, self.p) for logits, weights, total in rows])

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        mass = before.mass_above(row, token_id)
        return f"the likelier tokens already hold {100 * mass:.4g} % >= {100 * self.p:.4g} %"


def _nucleus(logits: Tensor, weights: Tensor, total: float, p: float) -> Tensor:
    """The nucleus of one row (n,), as ascending columns; `weights` are exp(logit - peak), `total` is their sum."""
    import torch

    from gencli.candidates import places

    need = p * total * (1 - ROUNDING)
    low, high, above = _bracket(weights, total, p, need)
    unsure = places(weights, low * (1 - NARROW), high if above else math.inf)
    if not unsure.numel():
        return unsure  # NaN, or nothing in play: the draw will say so
    best, order = logits.index_select(0, unsure).sort(descending=True, stable=True)
    sums = weights.index_select(0, unsure.index_select(0, order)).cumsum(0, dtype=torch.float64)
    last = min(int(torch.searchsorted(sums, need - above)), len(sums) - 1)
    if not above:
        return unsure[order[: last + 1]].sort().values
    kept = places(logits, border := float(best[last]))
    surplus = unsure[order[last + 1 :][best[last + 1 :] == border]]
    return kept[~torch.isin(kept, surplus)] if surplus.numel() else kept


def _bracket(weights: Tensor, total: float, p: float, need: float) -> tuple[float, float, float]:
    """Bisects to (low, high]: the smallest weight that the nucleus needs lies there, among few others.

    The third number is the sum of the weights above `high`, which all belong to the nucleus.
    """
    import torch

    # all that weigh less than this, taken together, are less than 1 - p
    low, high = (1 - p) * total / weights.numel(), 1.0
    above_low, above_high = total, 0.0
    # so much mass in tokens of at least `low` bounds their number
    while above_low - above_high > SORTED * low and high > low * (1 + NARROW):
        middle = math.sqrt(low * high)
        above = float(torch.threshold(weights, middle, 0.0).sum(dtype=torch.float64))
        if above >= need:
            low, above_low = middle, above
        else:
            high, above_high = middle, above
    return low, high, above_high
