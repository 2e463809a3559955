"""What may be in play at the end of a recorded step under another pipeline, as far as the record tells. Knows no trace and no seed.

Where the record does not hold every token, each stage is followed in bounds: which tokens are certainly in
play, with their logits; which others may be; what each of those has at most, and all of them together at least and at most.
What a stage does to such bounds follows from what it says that it `reads`. Of one that says nothing, nothing is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType

import torch
from torch import Tensor

from gencli.candidates import Candidates
from gencli.drawing import draw
from gencli.memory import Memory
from gencli.pipeline import Pipeline
from gencli.stages import Stage, changes
from gencli.unrecorded import ROUNDING, Record


@dataclass(frozen=True)
class Outcome:
    """`sure` are the tokens certainly in play, one row (None: nothing is claimed); `others` (vocabulary,) those that may be (None: none).

    None of the others has a logit above `highest`; `low` and `high` are the least and the greatest logsumexp that
    they may have together.
    """

    sure: Candidates | None
    others: Tensor | None = None
    highest: float = -math.inf
    low: float = -math.inf
    high: float = -math.inf

    @classmethod
    def begun(cls, record: Record) -> Outcome:
        """What is in play before the first stage."""
        if record.ids is None or record.highest is None:
            return cls(record.example)
        low, high = record.rest_total
        kept = record.raw > -torch.inf
        others = torch.ones(record.size, dtype=torch.bool).index_fill(0, record.ids, False)
        return cls(Candidates(record.raw[kept][None], record.ids[kept][None]), others, record.highest, low, high)

    @property
    def exact(self) -> bool:
        """Whether `sure` is all that is in play."""
        return self.others is None and self.sure is not None

    def unclaimed(self) -> Outcome:
        """The same step, with no claim about it."""
        return Outcome(None)

    def prob(self, token_id: int | None) -> tuple[float, float]:
        """The lowest and the highest probability of a token."""
        if token_id is None:
            return 0.0, 0.0
        if self.sure is None:
            return 0.0, 1.0
        logit, total = self.sure.logit(0, token_id), float(self.sure.log_total)
        if logit > -math.inf:
            return math.exp(logit - _plus(total, self.high)), math.exp(logit - _plus(total, self.low))
        if self.others is None or not bool(self.others[token_id]):
            return 0.0, 0.0
        most = min(self.highest, self.high)
        return 0.0, math.exp(most - _plus(total, most))

    @property
    def unrecorded(self) -> float:
        """The highest probability that the others may have together."""
        return 1.0 if self.sure is None else math.exp(self.high - _plus(float(self.sure.log_total), self.high))

    def drawn(self, number: float, step: int) -> tuple[int | None, bool]:
        """The token that this number in [0, 1) draws if none of the others is in play, and whether it is drawn whatever they are.

        The others may stand, by their ids, all before a token or all behind it.
        """
        if self.sure is None:
            return None, False
        token = draw(self.sure, [number], step)[0]
        if self.others is None:
            return token, True
        ids, sums = self.sure.token_ids()[0], self.sure.probs()[0].cumsum(0)
        at = int((ids == token).nonzero()[0])
        before, with_it = (float(sums[at - 1]) if at else 0.0), float(sums[at])
        most = math.exp(self.high - float(self.sure.log_total))  # times what the sure ones hold
        rounding = ROUNDING * (1 + most)
        return token, before + rounding <= number - most * (1 - number) and number * (1 + most) <= with_it - rounding


def outcome(record: Record, pipeline: Pipeline, memories: Sequence[Memory], first: int = 0) -> Outcome:
    """What the stages of `pipeline` from the `first` on leave of a recorded step after what `memories`, of one row, hold."""
    return reduce(lambda now, stage: _after(now, stage, memories), pipeline.stages[first:], Outcome.begun(record))


def _after(now: Outcome, stage: Stage, memories: Sequence[Memory]) -> Outcome:
    if now.sure is None or not changes(stage):
        return now
    if now.others is None:
        return Outcome(stage(now.sure, memories))
    rule = RULES.get(getattr(stage, "reads", ""))
    return rule(now, now.sure, now.others, stage, memories) if rule else now.unclaimed()


def _token(now: Outcome, sure: Candidates, others: Tensor, stage: Stage, memories: Sequence[Memory]) -> Outcome:
    """Each token by itself: a logit that was at most `highest` ends at most where `highest` itself does."""
    if float(sure.peak) < now.highest:  # then the largest logit of all is not known, and a stage may look at it
        return now.unclaimed()
    # those that it treats by their id alone, or all of them: at one of two places it shows
    starts = [_whole(sure, others, now.highest - gap) for gap in (0.0, 1.0)]
    ends = [stage(start, memories).spread(len(others))[0] for start in starts]
    changed = others & ((ends[0] != starts[0].logits[0]) | (ends[1] != starts[1].logits[0]))
    left, moved = others & (ends[0] > -torch.inf), ends[0][changed & (ends[0] > -torch.inf)].double()
    if len(moved) and getattr(stage, "reads", "") == "name":
        return now.unclaimed()
    count, as_before = int(changed.sum()), bool((left & ~changed).any())
    return _settled(
        _at(ends[0], sure.token_ids()[0]),
        left,
        float(ends[0][left].amax()) if bool(left.any()) else -math.inf,
        _plus(now.low, math.log(count) + now.highest, -1) if count else now.low,
        _plus(now.high if as_before else -math.inf, float(moved.logsumexp(0)) if len(moved) else -math.inf),
    )


def _scale(now: Outcome, sure: Candidates, others: Tensor, stage: Stage, memories: Sequence[Memory]) -> Outcome:
    """All logits times one number: what the others hold then lies between few as likely as possible and all equally likely."""
    step = stage(Candidates(torch.tensor([[0.0, 1.0]], dtype=torch.float64)), memories).logits[0]
    power, count = float(step[1] - step[0]), int(others.sum())
    ended = stage(_whole(sure, others, now.highest), memories).logits[0]
    highest = float(ended[others].amax())
    least, most = (min(math.exp(total - now.highest), count) for total in (now.low, now.high))  # times the likeliest
    few, equal = _few(least if power < 1 else most, power), count * ((most if power < 1 else least) / count) ** power
    low, high = (few, equal) if power < 1 else (equal, few)
    return _settled(_at(ended, sure.token_ids()[0]), others, highest, highest + _log(low), highest + _log(high))


def _few(mass: float, power: float) -> float:
    """What tokens hold that held `mass` times the likeliest, as few as possible, when each is raised to a power."""
    return math.floor(mass) + math.pow(mass - math.floor(mass), power)


def _rank(now: Outcome, sure: Candidates, others: Tensor, stage: Stage, memories: Sequence[Memory]) -> Outcome:
    """A cut: certain where it is the same for the least and the greatest total, of tokens that none of the others comes before."""
    logits, ids = sure.logits[0], sure.token_ids()[0]
    above = logits > now.highest
    cuts = [_cut(sure, now.highest, total, stage, memories) for total in _rounded(now, float(sure.log_total), int(others.sum()))]
    kept, some = cuts[0][1] & cuts[1][1], cuts[0][1] | cuts[1][1]
    gone = bool((above & ~some).any()) or not (cuts[0][0] or cuts[1][0])  # all that none of the others comes before, and so they
    maybe = (above & some & ~kept) | (torch.zeros_like(above) if gone else ~above)
    if not bool((above & kept).any()):
        return now.unclaimed()
    left = (torch.zeros_like(others) if gone else others).index_fill(0, ids[maybe], True)
    held = float(logits[maybe].double().logsumexp(0)) if bool(maybe.any()) else -math.inf
    highest, high = (-math.inf, -math.inf) if gone else (now.highest, now.high)
    ended = Candidates(logits[above & kept][None], ids[above & kept][None])
    return _settled(ended, left, max([highest, *logits[maybe].tolist()]), -math.inf, _plus(high, held))


def _rounded(now: Outcome, total: float, count: int) -> tuple[float, float]:
    """The least and the greatest total of the others, float32's sums in mind."""
    error = math.log(ROUNDING) + _plus(total, now.high)
    return _plus(now.low, error, -1), min(_plus(now.high, error), now.highest + math.log(count))


def _cut(sure: Candidates, highest: float, total: float, stage: Stage, memories: Sequence[Memory]) -> tuple[bool, Tensor]:
    """Whether a stage may leave any of some other tokens with that `total`, and a mask of the `sure` ones that it leaves.

    Of the others, the first comes before all that may be, and is as likely as any.
    """
    first = torch.tensor([highest] if total >= highest else [])
    before = torch.cat([first, _alike(highest, _plus(total, highest, -1) if len(first) else total)])
    count, ids = len(before), sure.token_ids()
    left = stage(Candidates(torch.cat([before[None], sure.logits], 1), torch.cat([torch.arange(count)[None], ids + count], 1)), memories)
    alive = left.token_ids()[0][left.logits[0] > -torch.inf]
    return not len(first) or bool((alive == 0).any()), torch.isin(ids[0] + count, alive)


def _alike(highest: float, total: float) -> Tensor:
    """(n,) logits, equal and at most `highest`, that hold a total."""
    if total == -math.inf:
        return torch.empty(0)
    count = max(1, math.ceil(math.exp(total - highest)))
    return torch.full((count,), min(highest, total - math.log(count)))


# what a stage `reads` -> what it makes of bounds
RULES: Mapping[str, Callable[[Outcome, Candidates, Tensor, Stage, Sequence[Memory]], Outcome]] = MappingProxyType(
    {"token": _token, "name": _token, "scale": _scale, "rank": _rank}
)


def _settled(sure: Candidates, others: Tensor, highest: float, low: float, high: float) -> Outcome:
    if not sure.width:
        return Outcome(None)
    return Outcome(sure, others, min(highest, high), min(low, high), high) if bool(others.any()) else Outcome(sure)


def _whole(sure: Candidates, others: Tensor, logit: float) -> Candidates:
    """The whole vocabulary, with that logit for all others and nothing for what is gone."""
    logits = torch.full((len(others),), -torch.inf).masked_fill(others, logit)
    return Candidates(logits.index_copy(0, sure.token_ids()[0], sure.logits[0])[None])


def _at(logits: Tensor, ids: Tensor) -> Candidates:
    """Those of the tokens that have a logit."""
    kept = logits[ids] > -torch.inf
    return Candidates(logits[ids][kept][None], ids[kept][None])


def _plus(one: float, other: float, sign: int = 1) -> float:
    """The log of exp(one) + exp(other), or of what is left of their difference."""
    top = max(one, other)
    return top if top == -math.inf else top + _log(math.exp(one - top) + sign * math.exp(other - top))


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
