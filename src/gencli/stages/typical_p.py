"""Typical-p: the tokens whose surprise is closest to what the distribution lets expect."""

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

ROUNDING = 1e-12  # a sum this close to p has reached it


@dataclass(frozen=True)
class TypicalP:
    """Keep the smallest set, surprise nearest to the entropy first, whose probability reaches p (locally typical sampling).

    The likeliest token may go where it says less than is to be expected. Among ties the lowest ids stay; 1 keeps all.
    """

    place: ClassVar[float] = 82
    source: ClassVar[str] = "Meister et al. 2022, Locally Typical Sampling (arXiv:2202.00666)"
    aliases: ClassVar[tuple[str, ...]] = ("typical",)

    p: float = knob(
        "float", 1.0, "Share of the probability, most typical first, that stays; 1 keeps all.", neutral=1.0, low=0.0, high=1.0, open="low"
    )

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.p == 1 or candidates.width == 1:
            return candidates
        from gencli.selection import beginning

        gaps, totals = _gaps(candidates), candidates.total[:, 0].tolist()
        rows = zip(gaps, candidates.weights, totals, strict=True)
        return candidates.select([beginning(gap, weights, self.p * total * (1 - ROUNDING)) for gap, weights, total in rows])

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        gaps, ids = _gaps(before)[row], before.token_ids()[row]
        own = float(gaps[(ids == token_id) & (before.logits[row] > -math.inf)][0])
        nearer = (gaps < own) | ((gaps == own) & (ids < token_id))
        mass = float(before.weights[row][nearer].double().sum()) / float(before.total[row])
        bits = own / math.log(2)
        return f"{bits:.3g} bits from the entropy; nearer tokens already hold {100 * mass:.4g} % >= {100 * self.p:.4g} %"


def _gaps(candidates: Candidates) -> Tensor:
    """(rows, n) how far each token's surprise lies from the entropy, in nats."""
    expected = candidates.log_total - candidates.entropy  # the logit of a token whose surprise is the entropy
    return (candidates.logits - expected.to(candidates.logits.dtype)).abs_()
