"""Top-p: the smallest set of likeliest tokens that holds a share p of the probability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gencli.stages import knob

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from gencli.candidates import Candidates
    from gencli.memory import Memory

SORTED = 1024  # so many candidates are cheaper sorted than halved once more
ROUNDED = 1e-6  # a weight is a float32
STEEP = 64  # where the likeliest token weighs so many times the mean, a nucleus is mostly found among the few
NEAR = 2**-14  # that weigh this share of it: hundreds at 6 bits of entropy
ROUNDING = 1e-12  # a sum this close to p has reached it: of ten equal tokens, p = 0.7 keeps seven


@dataclass(frozen=True)
class TopP:
    """Keep the smallest set, likeliest first, whose cumulative probability reaches p (nucleus sampling).

    At least one token stays; the set is complete as soon as its sum equals p; among ties the lowest
    ids stay; 1 keeps all.
    """

    place: ClassVar[float] = 70
    source: ClassVar[str] = "Holtzman et al. 2020, The Curious Case of Neural Text Degeneration (arXiv:1904.09751)"
    reads: ClassVar[str] = "rank"

    p: float = knob("float", 1.0, "Share of the probability that stays in play; 1 keeps all.", neutral=1.0, low=0.0, high=1.0, open="low")

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.p == 1 or candidates.width == 1:
            return candidates
        return candidates.select([_nucleus(candidates, row, self.p) for row in range(candidates.rows)], peak_stays=True)

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        mass = before.mass_above(row, token_id)
        return f"the likelier tokens already hold {100 * mass:.4g} % >= {100 * self.p:.4g} %"


def _nucleus(candidates: Candidates, row: int, p: float) -> Tensor:
    """The nucleus of one row, as ascending columns."""
    import numpy as np
    import torch

    from gencli.candidates import array

    weights, total = array(candidates.weights)[row], float(array(candidates.total)[row, 0])
    if math.isnan(total):
        return torch.empty(0, dtype=torch.int64)  # NaN, or nothing in play: the draw will say so
    few = _around(weights, p, total)
    heavy = weights[few]
    border, count = _border(heavy, p * total * (1 - ROUNDING))
    kept = few[heavy >= border]
    if kept.size > count:  # ties across the border: the larger logit stays, then the lower id
        ties = kept[weights[kept] == border]
        order = np.argsort(-array(candidates.logits[row])[ties], kind="stable")
        kept = np.setdiff1d(kept, ties[order[count - kept.size :]], assume_unique=True)
    return torch.from_numpy(kept)


def _around(weights: NDArray[Any], p: float, total: float) -> NDArray[Any]:
    """The indices, ascending, of some of the heaviest weights, the nucleus among them."""
    import numpy as np

    if total * STEEP < weights.size:
        few = (weights >= NEAR).nonzero()[0]
        if weights[few].sum(dtype=np.float64) >= p * total:
            return few
    # all that weigh less than this, taken together, are less than 1 - p
    return np.flatnonzero(weights >= (1 - p) * total / weights.size * (1 - ROUNDED))


def _border(weights: NDArray[Any], need: float) -> tuple[float, int]:
    """The smallest of those weights, largest first, whose sum reaches `need`, and their number.

    Bisects by rank: a partition costs a fraction of a sort.
    """
    import numpy as np

    above, count = 0.0, 0  # what is certainly part of them
    while weights.size > SORTED:
        half = weights.size // 2
        weights = np.partition(weights, half)
        sum_of_larger = float(weights[half:].sum(dtype=np.float64))
        if above + sum_of_larger >= need:
            weights = weights[half:]
        else:
            above, count, weights = above + sum_of_larger, count + weights.size - half, weights[:half]
    weights = np.sort(weights)[::-1]
    last = min(int(weights.cumsum(dtype=np.float64).searchsorted(need - above)), weights.size - 1)
    return float(weights[last]), count + last + 1
