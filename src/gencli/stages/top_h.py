"""Top-h: as many of the likeliest tokens as hold a share of the entropy."""

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


ROUNDING = 1e-12  # a sum this close to the limit does not exceed it: a share of 1 keeps all


@dataclass(frozen=True)
class TopH:
    """Keep the likeliest tokens as long as their part of the entropy is at most h times the whole. 0 is off.

    A token's part is its probability times its surprise. At least one token stays; among ties the lowest ids.
    """

    place: ClassVar[float] = 55
    source: ClassVar[str] = "Baghaei Potraghloo et al. 2025, Top-H Decoding (arXiv:2509.02510)"

    h: float = knob(
        "float", 0.0, "Share of the entropy that stays, likeliest first: 0.4 is usual; 0 is off.", neutral=0.0, low=0.0, high=1.0
    )

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.h == 0 or candidates.width == 1:
            return candidates
        from gencli.selection import beginning

        limits = (candidates.entropy[:, 0] * self.h * (1 + ROUNDING)).tolist()
        rows = zip(candidates.logits, _parts(candidates), limits, strict=True)
        return candidates.select([beginning(-logits, parts, limit, within=True) for logits, parts, limit in rows])

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        ahead = before.rank(row, token_id) - 1
        order = before.logits[row].sort(descending=True, stable=True).indices[: ahead + 1]
        held, whole = float(_parts(before)[row][order].sum()), float(before.entropy[row])
        bits = math.log(2)
        return f"with it {held / bits:.4g} bits > {self.h:g} x {whole / bits:.4g} bits"


def _parts(candidates: Candidates) -> Tensor:
    """(rows, n) float64: each token's part of the entropy, in nats."""
    gaps = (candidates.logits - candidates.peak).clamp_(min=-1000.0)  # where the weight is 0, so is the part
    parts: Tensor = (candidates.total.log() - gaps) * candidates.weights / candidates.total
    return parts
