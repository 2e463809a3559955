"""What a trace recorded of a step's logits, and what the rest of them can be at the extremes. Knows no stage and no event but `Logits`.

The rest is n tokens, none of them likelier than `highest`, which together hold what the log total leaves
over: at one extreme as few tokens as possible, all of them as likely as `highest`, at the other all of
them equally likely. Some of them may be set apart, and then hold as much of it as they can, or nothing.
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
        count = self.size - len(self.ids)
        level = -math.inf if self.highest is None else self._mass(count) - math.log(count)
        return Candidates(self.raw.new_full((self.size,), level).index_copy(0, self.ids, self.raw)[None])

    def completed(self, special: Tensor, few: bool, special_few: bool | None) -> Candidates:
        """A whole vocabulary that fits the record: the `rest` is as `few` tokens as possible, or all equally likely.

        Those of it in the mask `special` (n,) hold as much as they can, in the same two ways, or nothing (None).
        """
        assert self.ids is not None
        assert self.highest is not None
        rest = self.rest
        mass = math.exp(self._mass(len(rest)) - self.highest)  # in units of the likeliest
        inside = min(mass, float(special.sum())) if special_few is not None else 0.0
        nothing = self.highest + math.log(mass / len(rest)) - FAR_BELOW
        values = torch.empty(len(rest), dtype=torch.float64)
        values[~special] = self._shared(mass - inside, int((~special).sum()), few, nothing)
        values[special] = self._shared(inside, int(special.sum()), bool(special_few), nothing)
        whole = self.raw.new_empty(self.size)
        whole[self.ids] = self.raw
        whole[rest] = values.float()
        return Candidates(whole[None])

    def _shared(self, mass: float, count: int, few: bool, nothing: float) -> Tensor:
        """(count,) logits that hold `mass` times the likeliest, descending from it: as few as possible, or the others equally likely."""
        assert self.highest is not None
        values = torch.full((count,), nothing, dtype=torch.float64)
        number = min(count, int(mass + 1e-9) if few else min(1, int(mass + 1e-9)))
        values[:number] = self.highest
        left = mass - number
        others = min(1, count - number) if few else count - number
        if others and left > 0:
            values[number : number + others] = max(nothing, self.highest + math.log(min(1.0, left / others)))
        return values

    def _mass(self, count: int) -> float:
        """The log of what the rest holds, on the scale of the logits; never less than its likeliest token."""
        assert self.highest is not None
        share = -math.expm1(float(self.raw.double().logsumexp(0)) - self.log_total)
        mass = self.log_total + math.log(max(share, 0.0) + ROUNDING)
        return min(max(mass, self.highest), self.highest + math.log(count))


def _unpacked(data: bytes, kind: str) -> np.ndarray:
    if len(data) % 4:
        raise ValueError("its bytes are no whole numbers of four bytes")
    return np.frombuffer(data, dtype=kind)
