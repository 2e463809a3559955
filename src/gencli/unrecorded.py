"""What a trace recorded of a step's logits, and what the rest of them can be at the extremes. Knows no stage and no event but `Logits`.

The rest is n tokens, none of them likelier than `highest`, which together hold what the log total leaves
over. A completion puts one of them at `highest` and as many as the rest's mass allows at some level, from
`highest` (as few as possible) down to that of equally likely tokens. Between the two lies what a monotone
stage decides by, such as the normaliser at another temperature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gencli.candidates import Candidates
from gencli.events import Logits

LARGEST_VOCABULARY = 1 << 22  # tokens; no tokenizer comes near
ROUNDING = 3e-6  # of the whole probability: what float32 sums leave uncertain
FAR_BELOW = 30.0  # nats: a token so far below the others weighs nothing


@dataclass(frozen=True)
class Record:
    """The recorded logits of a step, checked.

    `ids` (m,) int64 ascending, None for the whole vocabulary of `size` tokens; `raw` and `final` (m,)
    float32 before the first and after the last stage of the recorded pipeline.
    """

    size: int
    ids: Tensor | None
    raw: Tensor
    final: Tensor
    log_total: float
    highest: float | None

    @classmethod
    def of(cls, logits: Logits) -> Record:
        """Raises ValueError, with what is wrong, for bytes that are no such logits or do not add up."""
        size = logits.size
        if not 1 <= size <= LARGEST_VOCABULARY:
            raise ValueError(f"a vocabulary has 1 to {LARGEST_VOCABULARY} tokens")
        ids = torch.from_numpy(_unpacked(logits.ids, "<i4").astype(np.int64)) if logits.ids else None
        if ids is not None and (int(ids[0]) < 0 or int(ids[-1]) >= size or not bool((ids[1:] > ids[:-1]).all())):
            raise ValueError(f"ids do not ascend from 0 to at most {size - 1}")
        raw = torch.from_numpy(_unpacked(logits.raw, "<f4").astype(np.float32))
        final = torch.from_numpy(_unpacked(logits.final, "<f4").astype(np.float32)) if logits.final else raw
        wanted = size if ids is None else len(ids)
        for name, values in (("raw", raw), ("final", final)):
            if len(values) != wanted:
                raise ValueError(f"there are {len(values)} logits in '{name}' for {wanted} tokens")
            if bool(values.isnan().any()) or not -math.inf < float(values.amax()) < math.inf:
                raise ValueError(f"the logits in '{name}' are not numbers")
        record = cls(size, ids, raw, final, logits.log_total, logits.highest)
        record._check_sum()
        return record

    def _check_sum(self) -> None:
        known = float(self.raw.double().logsumexp(0))
        rest = -math.inf if self.highest is None or self.ids is None else self.highest + math.log(max(1, self.size - len(self.ids)))
        if not known - 1e-3 <= self.log_total <= float(np.logaddexp(known, rest)) + 1e-3:
            raise ValueError("the logits do not add up to their total")

    @property
    def survivors(self) -> Candidates:
        """What the recorded pipeline left in play."""
        kept = self.final > -torch.inf
        ids = torch.arange(self.size) if self.ids is None else self.ids
        return Candidates(self.final[kept][None], ids[kept][None])

    @property
    def rest(self) -> Tensor:
        """(n,) the ids of tokens that were not recorded and that may have any mass, ascending."""
        known = torch.zeros(self.size, dtype=torch.bool)
        if self.ids is None or self.highest is None:
            return known.nonzero()[:, 0]
        return (~known.index_fill(0, self.ids, True)).nonzero()[:, 0]

    @property
    def example(self) -> Candidates:
        """A whole vocabulary that fits the record: where it is not all recorded, the rest is equally likely."""
        if self.ids is None:
            return Candidates(self.raw[None])
        level = -math.inf if self.highest is None else self.levels[1]
        return Candidates(self.raw.new_full((self.size,), level).index_copy(0, self.ids, self.raw)[None])

    @property
    def levels(self) -> tuple[float, float]:
        """The logits of the rest where it is as few tokens as possible, and where all of it is equally likely."""
        assert self.highest is not None
        assert self.ids is not None
        count = self.size - len(self.ids)
        return self.highest, self._mass(count) - math.log(count)

    def completed(self, order: Tensor, level: float) -> Candidates:
        """A whole vocabulary that fits the record, with the rest (n,) in this order, likeliest first, at this level."""
        assert self.ids is not None
        whole = self.raw.new_empty(self.size)
        whole[self.ids] = self.raw
        whole[order] = self._tail(level, len(order)).float()
        return Candidates(whole[None])

    def _mass(self, count: int) -> float:
        """The log of what the rest holds, on the scale of the logits; never less than its likeliest token."""
        assert self.highest is not None
        share = -math.expm1(float(self.raw.double().logsumexp(0)) - self.log_total)
        mass = self.log_total + math.log(max(share, 0.0) + ROUNDING)
        return min(max(mass, self.highest), self.highest + math.log(count))

    def _tail(self, level: float, count: int) -> Tensor:
        """(n,) logits, descending: one `highest`, as many at `level` as the mass allows, what is left over, and nothing."""
        assert self.highest is not None
        mass = self._mass(count)
        values = torch.full((count,), mass - math.log(count) - FAR_BELOW, dtype=torch.float64)
        values[0] = self.highest
        left = max(0.0, math.exp(mass - self.highest) - 1)  # in units of the likeliest
        each = math.exp(level - self.highest)
        number = min(int(left / each + 1e-9), count - 1)
        values[1 : 1 + number] = level
        left -= number * each
        if left > 0 and number + 1 < count:
            values[number + 1] = max(float(values[number + 1]), self.highest + math.log(left))
        return values


def _unpacked(data: bytes, kind: str) -> np.ndarray:
    if len(data) % 4:
        raise ValueError("its bytes are no whole numbers of four bytes")
    return np.frombuffer(data, dtype=kind)
