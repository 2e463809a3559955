"""Top-h: as many of the likeliest tokens as hold a share of the entropy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gencli.stages import knob

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from gencli.candidates import Candidates
    from gencli.memory import Memory


LEAST = -1000.0  # a log-probability whose part of the entropy is 0
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
        from gencli.selection import largest

        limits = (candidates.entropy[:, 0] * self.h * (1 + ROUNDING)).tolist()
        rows = zip(candidates.logits, candidates.log_total[:, 0].tolist(), limits, strict=True)
        return candidates.select([largest(logits, max(1, _within(logits, total, limit))) for logits, total, limit in rows])

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        import numpy as np

        from gencli.selection import descending

        *_, likeliest = descending(before.logits[row])
        parts = _parts(likeliest[: before.rank(row, token_id)], float(before.log_total[row]))
        whole = float(before.entropy[row])
        return f"with it {np.sum(parts) / math.log(2):.4g} bits > {self.h:g} x {whole / math.log(2):.4g} bits"


def _within(logits: Tensor, log_total: float, limit: float) -> int:
    """How many of the likeliest of a row (n,) hold at most `limit` nats of the entropy."""
    from gencli.selection import descending

    count = 0
    for best in descending(logits):
        count = int(_parts(best, log_total).cumsum().searchsorted(limit, side="right"))
        if count < len(best):
            break
    return count


def _parts(logits: NDArray[np.float64], log_total: float) -> NDArray[np.float64]:
    """(n,) the parts of the entropy of tokens with these logits, in nats; of a removed one, nothing."""
    import numpy as np

    logs = np.maximum(logits - log_total, LEAST)
    parts: NDArray[np.float64] = -logs * np.exp(logs)
    return parts
