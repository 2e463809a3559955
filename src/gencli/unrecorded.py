"""What a trace recorded of a step's logits, and between what bounds the rest of them lie. Knows no stage and no event but `Logits`."""

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
    def example(self) -> Candidates:
        """A whole vocabulary that fits the record: where it is not all recorded, the rest is equally likely."""
        if self.ids is None:
            return Candidates(self.raw[None])
        level = -math.inf if self.highest is None else self.rest_total[1] - math.log(self.size - len(self.ids))
        return Candidates(self.raw.new_full((self.size,), level).index_copy(0, self.ids, self.raw)[None])

    @property
    def rest_total(self) -> tuple[float, float]:
        """The least and the greatest logsumexp of all that was not recorded; one of them is as likely as `highest`, none likelier."""
        assert self.ids is not None
        assert self.highest is not None
        share = -math.expm1(float(self.raw.double().logsumexp(0)) - self.log_total)
        low, high = (self.log_total + math.log(max(share + error, 1e-300)) for error in (-ROUNDING, ROUNDING))
        most = self.highest + math.log(self.size - len(self.ids))
        return min(max(low, self.highest), most), min(max(high, self.highest), most)


def _unpacked(data: bytes, kind: str) -> np.ndarray:
    if len(data) % 4:
        raise ValueError("its bytes are no whole numbers of four bytes")
    return np.frombuffer(data, dtype=kind)
