"""Mirostat: a cut that moves with the text, so that its surprise stays near a target."""

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

BIT = math.log(2)  # nats
LIKELIEST = 100  # so many tokens show how steep the distribution is (the paper's m)
ROUNDING = 1e-9  # nats: a surprise this close to the limit is at it


@dataclass(frozen=True)
class Mirostat:
    """Keep tokens whose surprise is below a limit, which falls after surprising tokens and rises after expected ones.

    The surprise of a drawn token is -log2 of its probability under the whole pipeline; the limit starts at twice
    the target, in bits, and moves by the learning rate times the miss. Version 2 cuts at the limit itself; version 1
    first turns it into a number k of tokens, by the power law (Zipf) that fits the 100 likeliest. At least one token
    stays. 0 is off.
    """

    place: ClassVar[float] = 140
    source: ClassVar[str] = "Basu et al. 2021, Mirostat (arXiv:2007.14966); llama.cpp"

    target: float = knob(
        "float", 0.0, "Bits of surprise a token to aim at: 2 to 4 sober, 5 to 8 lively; 0 is off.", neutral=0.0, low=0.0, high=100.0
    )
    version: int = knob("int", 2, "1 keeps k tokens by Zipf's law, 2 cuts at the limit itself.", low=1, high=2)
    learning_rate: float = knob("float", 0.1, "How fast the limit follows.", low=0.0, high=1.0, open="low")
    slot: int = 0

    @property
    def reads(self) -> str:
        return "rank" if self.version == 2 else ""

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.target == 0 or candidates.width == 1:
            return candidates
        choose = _most if self.version == 1 else _unsurprising
        return candidates.select([choose(candidates, row, self._limit(memory)) for row, memory in enumerate(memories)])

    def drawn(self, token_id: int, logprob: float, memory: Memory) -> None:
        """Move the limit; a token that the pipeline would never have drawn teaches nothing."""
        if self.target and logprob > -math.inf:
            miss = -logprob / BIT - self.target
            memory.note(self.slot, self._limit(memory) - self.learning_rate * miss)

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        surprise = math.log2(float(before.total[row])) + float(before.peak[row] - before.logit(row, token_id)) / BIT
        return f"a surprise of {surprise:.3g} bits is beyond this step's limit (target {self.target:g})"

    def _limit(self, memory: Memory) -> float:
        """The largest surprise allowed now, in bits."""
        return float(memory.noted(self.slot, 2 * self.target))


def _unsurprising(candidates: Candidates, row: int, limit: float) -> Tensor:
    """The columns of a row whose surprise is at most `limit` bits; else that of the likeliest."""
    from gencli.candidates import places

    border = float(candidates.log_total[row]) - limit * BIT - ROUNDING
    kept = places(candidates.logits[row], border)
    return kept if kept.numel() else _first(candidates, row, 1)


def _most(candidates: Candidates, row: int, limit: float) -> Tensor:
    """The columns of so many of a row's likeliest as let a power law keep the surprise within `limit` bits."""
    import torch

    logits = candidates.logits[row]
    count = int((logits > -torch.inf).sum())
    best = logits.topk(min(LIKELIEST, count)).values.double()
    if count < 2:
        return logits[:0]  # one, or what is no number: nothing to choose from
    steps = torch.arange(1, len(best), dtype=torch.float64)
    ratios = ((steps + 1) / steps).log()
    exponent = float((ratios * (best[:-1] - best[1:])).sum() / ratios.square().sum())
    return _first(candidates, row, max(1, int(min(_cut(exponent, limit, count), count))))


def _cut(exponent: float, limit: float, count: int) -> float:
    """The paper's k = (e 2^limit / (1 - N^-e)) ^ (1 / s), with e = s - 1 and s the exponent, at its limits as well."""
    if not math.isfinite(exponent):
        return 1.0 if exponent > 0 else count
    over = exponent - 1
    share = math.log(count) if over == 0 else -math.expm1(-over * math.log(count)) / over
    log_k = limit * BIT - math.log(share)
    if log_k >= exponent * math.log(count):  # where all are as likely, the exponent is 0
        return count
    return math.exp(log_k / exponent) if exponent else 1.0


def _first(candidates: Candidates, row: int, k: int) -> Tensor:
    """The columns of the k likeliest of a row, ascending; the lowest among ties."""
    import torch

    from gencli.candidates import places

    logits = candidates.logits[row]
    border = float(logits.topk(k).values[-1])
    kept = places(logits, border)
    surplus = (logits[kept] == border).nonzero()[:, 0][k - int((logits > border).sum()) :]
    return kept[~torch.isin(kept, kept[surplus])] if surplus.numel() else kept
