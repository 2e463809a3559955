"""What may be in play at the end of a recorded step under another pipeline, as far as the record tells. Knows no trace and no seed.

Where the record does not hold every token, the pipeline is run on completions of it. What it leaves of the
recorded tokens lies between what it leaves there, if every stage that sees unrecorded tokens is `monotone`;
where another kind of stage sees some, nothing is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gencli.candidates import Candidates
from gencli.drawing import draw
from gencli.memory import Memory
from gencli.pipeline import Pipeline
from gencli.unrecorded import Record

COARSE, FINE = 4, 12  # levels of the rest that are tried: first, and where some of it may be left
GOLDEN, STEPS = (math.sqrt(5) - 1) / 2, 16  # of the search for the level at which most of it is left
MISSED = 2e-3  # of that: what the search may have missed


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
    passed = pipeline.traced(record.example, memories)
    if not len(rest):
        return Outcome.exact(passed[-1])
    left = torch.ones(record.size, dtype=torch.bool).index_fill(0, rest, False)
    special = _treated_by_id(passed, rest, record.size)
    tried = [_World.of(passed[-1], left)]
    if special is None or not _claims(pipeline, passed, left):
        return _together(tried).unclaimed()
    first = torch.cat([rest[special], rest[~special]])
    orders = [first, first.flip(0)] if bool(special.any()) else [first]

    def at(level: float, order: Tensor = first) -> _World | None:
        passed = pipeline.traced(record.completed(order, level), memories)
        return _World.of(passed[-1], left) if _claims(pipeline, passed, left) else None

    for levels, turns in ((_between(record.levels, COARSE), orders), (_between(record.levels, FINE), [first])):
        for level in levels:
            for order in turns:
                world = at(level, order)
                if world is None:
                    return _together(tried).unclaimed()
                tried.append(world)
        if all(each.rest == 0 and torch.equal(each.kept, tried[0].kept) for each in tried):
            return Outcome.exact(tried[0].final)
    tried += _heaviest(at, _between(record.levels, FINE))
    return _together(tried)


@dataclass(frozen=True)
class _World:
    """What is left of one completion: `kept` (vocabulary,) recorded tokens, `logits` (vocabulary,) of them, and what the others weigh.

    `rest` is the log of the others' weight together plus one, `largest` the logit of the likeliest of them.
    """

    final: Candidates
    kept: Tensor
    logits: Tensor
    log_rest: float
    largest: float

    @classmethod
    def of(cls, final: Candidates, recorded: Tensor) -> _World:
        logits = final.spread(len(recorded))[0].double()
        alive = logits > -torch.inf
        others = logits[alive & ~recorded]
        none = len(others) == 0
        return cls(
            final,
            alive & recorded,
            logits,
            -math.inf if none else float(others.logsumexp(0)),
            -math.inf if none else float(others.max()),
        )

    @property
    def rest(self) -> float:
        """0 where nothing else is left."""
        return 0.0 if self.log_rest == -math.inf else 1.0


def _claims(pipeline: Pipeline, passed: Sequence[Candidates], recorded: Tensor) -> bool:
    """Whether every stage that changed something while unrecorded tokens were in play is monotone."""
    for stage, before, after in zip(pipeline.stages, passed, passed[1:], strict=False):
        if after is before or getattr(stage, "monotone", False):
            continue
        alive = before.token_ids()[0][before.logits[0] > -torch.inf]
        if bool((~recorded[alive]).any()):
            return False
    return True


def _treated_by_id(points: Sequence[Candidates], rest: Tensor, size: int) -> Tensor | None:
    """A mask (n,) of the `rest` (n,), equally likely before, that a pipeline sets apart from most of it; None if in several ways."""
    apart = torch.zeros(len(rest), dtype=torch.bool)
    for point in points:
        values = point.spread(size)[0][rest]
        different = values != values.median()
        if len(torch.unique(values[different])) > 1:
            return None
        apart |= different
    return apart


def _between(ends: tuple[float, float], count: int) -> list[float]:
    high, low = ends
    return [high + (low - high) * at / (count - 1) for at in range(count)]


def _heaviest(at: Callable[[float], _World | None], levels: Sequence[float]) -> list[_World]:
    """Worlds on the way to the level that leaves most of the rest: between two thresholds it rises to one peak."""
    weights = [-math.inf if (world := at(level)) is None else world.log_rest for level in levels]
    peak = max(range(len(levels)), key=weights.__getitem__)
    low, high = levels[min(peak + 1, len(levels) - 1)], levels[max(peak - 1, 0)]
    found: list[_World] = []

    def weight(level: float) -> float:
        world = at(level)
        if world is None:
            return -math.inf
        found.append(world)
        return world.log_rest

    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    of_left, of_right = weight(left), weight(right)
    for _ in range(STEPS):
        if of_left >= of_right:
            high, right, of_right = right, left, of_left
            left = high - GOLDEN * (high - low)
            of_left = weight(left)
        else:
            low, left, of_left = left, right, of_right
            right = low + GOLDEN * (high - low)
            of_right = weight(right)
    return found


def _together(worlds: Sequence[_World]) -> Outcome:
    """One outcome from all that was tried."""
    some = torch.stack([world.kept for world in worlds]).any(0)
    every = torch.stack([world.kept for world in worlds]).all(0)
    logits = torch.stack([world.logits for world in worlds]).amax(0)
    ids = some.nonzero()[:, 0]
    peak = float(logits[ids].max()) if len(ids) else max(world.largest for world in worlds)
    weights = [math.exp(world.log_rest - peak) for world in worlds]
    one = max(math.exp(world.largest - peak) for world in worlds)
    likely = worlds[min(range(len(worlds)), key=weights.__getitem__)].kept
    rest = max(0.0, min(weights) * (1 - MISSED) - one), max(weights) * (1 + MISSED) + one
    return Outcome(ids, (logits[ids] - peak).exp(), every[ids], likely[ids], rest)
