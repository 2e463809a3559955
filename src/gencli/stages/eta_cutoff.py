"""Eta cutoff: a smallest probability that falls where the distribution is flat."""

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


@dataclass(frozen=True)
class EtaCutoff:
    """Keep tokens of at least the probability eta, the smaller of epsilon and sqrt(epsilon) x exp(-entropy). 0 keeps all.

    The likeliest token always stays. The flatter the distribution, the larger its entropy (in nats) and the lower the bar.
    """

    place: ClassVar[float] = 86
    source: ClassVar[str] = "Hewitt, Manning and Liang 2022, Truncation Sampling as Language Model Desmoothing (arXiv:2210.15191)"

    epsilon: float = knob(
        "float",
        0.0,
        "The bar where the model is sure: 0.0003 to 0.004 are usual; 0 keeps all.",
        neutral=0.0,
        low=0.0,
        high=1.0,
        open="high",
    )

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.epsilon == 0:
            return candidates
        borders = self._log_eta(candidates.entropy) + candidates.log_total
        return candidates.at_least(borders.minimum(candidates.peak)[:, 0].tolist())

    def _log_eta(self, entropy: Tensor) -> Tensor:
        log_epsilon = math.log(self.epsilon)
        return (log_epsilon / 2 - entropy).clamp(max=log_epsilon)

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        eta = math.exp(float(self._log_eta(before.entropy[row])))
        bits = float(before.entropy[row]) / math.log(2)
        return f"{100 * before.probability(row, token_id):.3g} % < {100 * eta:.3g} %, which an entropy of {bits:.3g} bits sets"
