"""What a trace recorded of a step's logits, and what the rest of them can be at the extremes. Knows no stage and no event but `Logits`.

The rest is n tokens, none of them likelier than `highest`, which together hold what the log total leaves
over. Between two extremes lie the figures that stages decide by, such as the normaliser at another
temperature or the entropy: as few tokens as possible, all of them as likely as `highest`; and all of them
equally likely. Both are stairs; the other extreme of what looks at the curve itself (tail_free) falls evenly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gencli.candidates import Candidates
from gencli.events import Logits

LARGEST_VOCABULARY = 1 << 22  # tokens; no tokenizer comes near
ROUNDING = 3e-6  # of the whole probability: what float32 sums leave uncertain
FAR_BELOW = 30.0  # nats: a token so far below the others weighs nothing
LEVELS = 4  # completions from one extreme to the other
HALVINGS = 8  # steps towards the level at which the rest just survives

Ending = Callable[[Candidates], Candidates]


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
        count = self.size - len(self.ids)
        level = -math.inf if self.highest is None else float(self._levels(count)[-1])
        return Candidates(self.raw.new_full((self.size,), level).index_copy(0, self.ids, self.raw)[None])

    def completed(self, ending: Ending, named: Callable[[Candidates, Tensor], Tensor]) -> list[tuple[Candidates, Tensor]]:
        """What `ending`, a pipeline, leaves of the whole vocabulary: once where all of it is recorded, else once for each completion.

        Each comes with a mask (size,) of the recorded tokens. `named(candidates, rest)` answers with a
        mask (n,) of those of the `rest` (n,) that the pipeline treats by their id; they take their turn first and last.
        """
        if self.ids is None or self.highest is None:
            return [(ending(self.example), torch.ones(self.size, dtype=torch.bool))]
        known = torch.zeros(self.size, dtype=torch.bool).index_fill(0, self.ids, True)
        rest, flat = (~known).nonzero()[:, 0], self.example
        levels = self._levels(len(rest))
        special = named(flat, rest)
        first = torch.cat([rest[special], rest[~special]])

        def at(level: Tensor, order: Tensor = first) -> Candidates:
            return ending(self._filled(order, self._tail(level, len(rest))))

        def several(world: Candidates) -> bool:
            return int((~known[world.token_ids()[0][world.logits[0] > -torch.inf]]).sum()) > 1

        worlds = [at(levels[0], first.flip(0)), ending(self._filled(first, self._slope(len(rest)))), *map(at, levels)]
        survive = [several(each) for each in worlds[2:]]
        for one, other in zip(range(LEVELS), range(1, LEVELS), strict=False):
            if survive[one] == survive[other]:
                continue
            alive, dead = (levels[one], levels[other]) if survive[one] else (levels[other], levels[one])
            for _ in range(HALVINGS):  # where the rest just survives it may weigh most
                world = at(middle := (alive + dead) / 2)
                alive, dead = (middle, dead) if several(world) else (alive, middle)
                worlds.append(world)
        return [(world, known) for world in worlds]

    def _mass(self, count: int) -> float:
        """The log of what the rest holds, on the scale of the logits; never less than its likeliest token."""
        assert self.highest is not None
        share = -math.expm1(float(self.raw.double().logsumexp(0)) - self.log_total)
        mass = self.log_total + math.log(max(share, 0.0) + ROUNDING)
        return min(max(mass, self.highest), self.highest + math.log(count))

    def _levels(self, count: int) -> Tensor:
        """(LEVELS,) float64 logits from `highest` down to that of equally likely tokens."""
        return torch.linspace(self.highest or 0.0, self._mass(count) - math.log(count), LEVELS, dtype=torch.float64)

    def _tail(self, level: Tensor, count: int) -> Tensor:
        """(n,) logits, descending: one `highest`, as many at `level` as the mass allows, what is left over, and nothing."""
        assert self.highest is not None
        mass = self._mass(count)
        values = torch.full((count,), mass - math.log(count) - FAR_BELOW, dtype=torch.float64)
        values[0] = self.highest
        left = max(0.0, math.exp(mass - self.highest) - 1)  # in units of the likeliest
        each = math.exp(float(level) - self.highest)
        number = min(int(left / each + 1e-9), count - 1)
        values[1 : 1 + number] = level
        left -= number * each
        if left > 0 and number + 1 < count:
            values[number + 1] = max(float(values[number + 1]), self.highest + math.log(left))
        return values

    def _slope(self, count: int) -> Tensor:
        """(n,) logits, descending by the same step from `highest` on, a curve that hardly bends; they hold the mass."""
        assert self.highest is not None
        wanted = math.exp(self._mass(count) - self.highest)  # in units of the likeliest
        low, high = 0.0, FAR_BELOW
        for _ in range(60):
            step = (low + high) / 2
            holds = count if step == 0 else math.expm1(-step * count) / math.expm1(-step)
            low, high = (step, high) if holds > wanted else (low, step)
        return self.highest - low * torch.arange(count, dtype=torch.float64)

    def _filled(self, order: Tensor, values: Tensor) -> Candidates:
        assert self.ids is not None
        whole = self.raw.new_empty(self.size)
        whole[self.ids] = self.raw
        whole[order] = values.float()
        return Candidates(whole[None])


def treated_by_id(points: Sequence[Candidates], rest: Tensor, size: int) -> Tensor:
    """A mask (n,) of the `rest` (n,), equally likely before, that some point of a pipeline sets apart from most of them."""
    apart = torch.zeros(len(rest), dtype=torch.bool)
    for point in points:
        values = point.spread(size)[0][rest]
        different = values != values.median()
        if bool(different.any()):
            apart |= different
    return apart


def _unpacked(data: bytes, kind: str) -> np.ndarray:
    if len(data) % 4:
        raise ValueError("its bytes are no whole numbers of four bytes")
    return np.frombuffer(data, dtype=kind)
