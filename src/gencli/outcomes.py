"""What may be in play at the end of a recorded step under another pipeline, as far as the record tells. Knows no trace and no seed.

Where the record does not hold every token, the pipeline is run on completions of it at the extremes. They
bound what a pipeline leaves as long as unrecorded tokens meet only stages that read a token by itself, and then
others that read ranks or sums and remove all of them. Where they meet anything else, nothing is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gencli.candidates import Candidates
from gencli.drawing import draw
from gencli.memory import Memory
from gencli.pipeline import Pipeline
from gencli.stages import Stage
from gencli.unrecorded import Record


@dataclass(frozen=True)
class Outcome:
    """`ids` (m,) ascending and `weights` (m,) float64 of the recorded tokens that may be in play, `sure` (m,) those that are.

    `rest` is the least and the most weight that the others may have together. `likely` (m,) are the tokens
    in play where the others have least; `final` is what is left where nothing is open. `known` is False
    where nothing is claimed.
    """

    ids: Tensor
    weights: Tensor
    sure: Tensor
    likely: Tensor
    rest: tuple[float, float] = (0.0, 0.0)
    final: Candidates | None = None
    known: bool = True

    @classmethod
    def exact(cls, final: Candidates) -> Outcome:
        """What is left where every token is recorded."""
        ids, probs = final.token_ids()[0], final.probs()[0].double()
        kept = probs > 0
        order = ids[kept].argsort()
        everywhere = torch.ones(int(kept.sum()), dtype=torch.bool)
        return cls(ids[kept][order], probs[kept][order], everywhere, everywhere, final=final)

    @property
    def example(self) -> Candidates | None:
        """What is left where the others have least; None where that is nothing."""
        ids = self.ids[self.likely]
        return self.final or (Candidates(self.weights[self.likely].log().float()[None], ids[None]) if len(ids) else None)

    def unclaimed(self) -> Outcome:
        """The same tokens, with no claim about them."""
        return Outcome(self.ids, self.weights, self.sure, self.likely, (0.0, math.inf), known=False)

    def prob(self, token_id: int | None) -> tuple[float, float]:
        """The lowest and the highest probability of a recorded token."""
        if token_id is None:
            return 0.0, 0.0
        if not self.known:
            return 0.0, 1.0
        at = (self.ids == token_id).nonzero()[:, 0]
        if not len(at):
            return 0.0, 0.0
        weight, sure = float(self.weights[at[0]]), bool(self.sure[at[0]])
        least = self._sum(self.sure) + (0.0 if sure else weight) + self.rest[0]
        return (weight / (self._sum() + self.rest[1]) if sure else 0.0), min(1.0, weight / least)

    @property
    def unrecorded(self) -> float:
        """The highest probability that tokens without recorded logits may have together."""
        if not self.known:
            return 1.0
        least = self._sum(self.sure)
        return 0.0 if self.rest[1] == 0 else self.rest[1] / (least + self.rest[1])

    def drawn(self, number: float, step: int) -> tuple[int | None, bool]:
        """The token that this number in [0, 1) draws if none of the others is in play, and whether it is drawn whatever they are.

        The others may stand, by their ids, all before a token or all behind it.
        """
        if self.final is not None:
            return draw(self.final, [number], step)[0], self.known
        ids, sums = self.ids[self.likely], self.weights[self.likely].cumsum(0)
        if not len(ids):
            return None, False
        total, most = float(sums[-1]), self.rest[1]
        token = int(ids[self._at(sums, number * total)])
        if not self.known or not bool(self.sure.all()):
            return token, False
        low, high = number * total - most * (1 - number), number * (total + most)
        return token, low >= 0 and high < total and self._at(sums, low) == self._at(sums, high)

    @staticmethod
    def _at(sums: Tensor, point: float) -> int:
        return min(int(torch.searchsorted(sums, point, right=True)), len(sums) - 1)

    def _sum(self, chosen: Tensor | None = None) -> float:
        return float((self.weights if chosen is None else self.weights[chosen]).sum())


def outcome(record: Record, pipeline: Pipeline, memories: Sequence[Memory]) -> Outcome:
    """What `pipeline` leaves of a recorded step after what `memories`, of one row, hold."""
    rest = record.rest
    flat = pipeline.traced(record.example, memories)
    if not len(rest):
        return Outcome.exact(flat[-1])
    special, raised = _treated_by_id(pipeline.stages, flat, rest, record.size)
    holdings = (None, True, False) if bool(special.any()) else (None,)
    passed = [pipeline.traced(record.completed(special, few, held), memories) for held in holdings for few in (True, False)]
    recorded = torch.ones(record.size, dtype=torch.bool).index_fill(0, rest, False)
    points = [[_World.of(world[at], recorded) for world in passed] for at in range(len(pipeline.stages) + 1)]
    ends = points[-1]
    if _claimed(pipeline.stages, points, raised):
        if _settled(ends) and not any(world.others for world in ends):
            return Outcome.exact(ends[0].left)
        return _together(ends, rest[special])
    return _together(ends, rest[special]).unclaimed()


@dataclass(frozen=True)
class _World:
    """What is `left` of one completion: `kept` (vocabulary,) are the recorded tokens, `others` whether any other one is among it."""

    left: Candidates
    kept: Tensor
    others: bool

    @classmethod
    def of(cls, left: Candidates, recorded: Tensor) -> _World:
        alive = left.token_ids()[0][left.logits[0] > -torch.inf]
        mine = recorded[alive]
        return cls(left, torch.zeros_like(recorded).index_fill(0, alive[mine], True), not bool(mine.all()))


def _claimed(stages: Sequence[Stage], points: Sequence[Sequence[_World]], raised: bool) -> bool:
    """Whether the extremes at the first of the points stay extremes to the last; `raised` unrecorded tokens are some that got a bias."""
    loose = False  # a cut may have left more or less of the others than at both extremes
    for stage, before, after in zip(stages, points, points[1:], strict=False):
        if all(one.left is other.left for one, other in zip(before, after, strict=True)):
            continue
        reads = getattr(stage, "reads", None)
        if not any(world.others for world in before):
            if not _settled(before):
                return False
        elif reads == "rank" or (reads == "sum" and not loose and not raised):
            loose = loose or any(world.others for world in after)
        elif reads != "token":
            return False
    return not loose or not any(world.others for world in points[-1])


def _settled(worlds: Sequence[_World]) -> bool:
    """Whether the same recorded tokens are left everywhere."""
    return all(torch.equal(world.kept, worlds[0].kept) for world in worlds)


def _treated_by_id(stages: Sequence[Stage], points: Sequence[Candidates], rest: Tensor, size: int) -> tuple[Tensor, bool]:
    """A mask (n,) of the `rest` (n,), equally likely at first, that stages set apart, and whether one of them leaves some of those."""
    apart, raised = torch.zeros(len(rest), dtype=torch.bool), False
    for stage, one, other in zip(stages, points, points[1:], strict=False):
        if one is other or getattr(stage, "reads", None) != "token":
            continue  # what others read treats equals equally, but for ties
        before, after = one.spread(size)[0][rest], other.spread(size)[0][rest]
        alive = before > -torch.inf
        change = after - before
        different = alive & (change != change[alive].median()) if bool(alive.any()) else alive
        apart |= different
        raised = raised or bool((after[different] > -torch.inf).any())
    return apart & bool((~apart).any()), raised


def _together(worlds: Sequence[_World], special: Tensor) -> Outcome:
    """One outcome from all extremes."""
    every = torch.stack([world.kept for world in worlds])
    some, all_of_them = every.any(0), every.all(0)
    logits = torch.stack([world.left.spread(len(some))[0].double() for world in worlds])
    ids = some.nonzero()[:, 0]
    known = logits[:, ids].amax(0)
    peak = float(known.max()) if len(ids) else float(logits.max())
    weights = (logits - peak).exp().where(~some, 0.0)  # of the others, in each world
    apart = weights[:, special].sum(1)
    others = weights.sum(1) - apart
    rest = float(others.min() + apart.min()), float(others.max() + apart.max())
    likely = worlds[int((others + apart).argmin())].kept
    return Outcome(ids, (known - peak).exp(), all_of_them[ids], likely[ids], rest)
