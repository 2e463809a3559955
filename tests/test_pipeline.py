"""The pipeline: a fold in the given order, traced without another path, bound to a vocabulary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from gencli.candidates import Candidates
from gencli.errors import UsageError
from gencli.memory import Memory
from gencli.pipeline import Pipeline
from gencli.registry import find
from gencli.stages import Stage, build, knobs
from gencli.vocabulary import Vocabulary

ROW = [5.0, 1.0, 0.5, 0.0, -0.5, -1.0, -1.5, -2.0]
MEMORY = [Memory([0])]


def pipeline(*stages: tuple[str, object]) -> Pipeline:
    def first(name: str, value: object) -> Stage:
        built: Stage = build(name, find("stages", name), {knobs(find("stages", name))[0].name: value})
        return built

    return Pipeline([(name, first(name, value)) for name, value in stages])


def kept(candidates: Candidates) -> list[int]:
    return candidates.token_ids()[0].tolist()


def test_nothing_in_it_changes_nothing() -> None:
    candidates = Candidates(torch.tensor([ROW]))
    assert Pipeline([])(candidates, MEMORY) is candidates
    assert Pipeline([]).traced(candidates, MEMORY) == [candidates]


def test_order_is_data() -> None:
    """A high temperature before the nucleus widens it; behind it, it does not."""
    first = pipeline(("temperature", 5.0), ("top_p", 0.9))(Candidates(torch.tensor([ROW])), MEMORY)
    last = pipeline(("top_p", 0.9), ("temperature", 5.0))(Candidates(torch.tensor([ROW])), MEMORY)
    assert kept(first) == [0, 1, 2, 3, 4, 5, 6]
    assert kept(last) == [0]


def test_a_stage_may_stand_twice() -> None:
    twice = pipeline(("top_k", 5), ("temperature", 2.0), ("temperature", 2.0), ("top_k", 2))
    assert twice.names == ("top_k", "temperature", "temperature", "top_k")
    assert twice(Candidates(torch.tensor([ROW])), MEMORY).logits.tolist() == [[1.25, 0.25]]


def test_traced_is_the_same_fold() -> None:
    stages = pipeline(("repetition_penalty", 1.3), ("temperature", 0.8), ("top_k", 6), ("top_p", 0.95), ("min_p", 0.01))
    logits = torch.randn((3, 50), generator=torch.Generator().manual_seed(0))
    memories = [Memory([row, 7]) for row in range(3)]
    raw = Candidates(logits)
    passed = stages.traced(raw, memories)
    assert len(passed) == len(stages.names) + 1
    assert passed[0] is raw
    final = stages(Candidates(logits), memories)
    assert torch.equal(passed[-1].logits, final.logits)
    assert torch.equal(passed[-1].token_ids(), final.token_ids())
    for before, after, stage in zip(passed, passed[1:], stages.stages, strict=False):
        assert torch.equal(stage(before, memories).logits, after.logits)


def test_rows_go_through_as_they_would_alone() -> None:
    stages = pipeline(("repetition_penalty", 1.2), ("temperature", 0.7), ("top_p", 0.8), ("min_p", 0.1))
    logits = torch.randn((4, 5000), generator=torch.Generator().manual_seed(8)) * 3
    memories = [Memory(range(row, 400, 3)) for row in range(4)]
    together = stages(Candidates(logits), memories)
    for row in range(4):
        alone = stages(Candidates(logits[row : row + 1]), [memories[row]])
        left = together.logits[row] > -torch.inf
        assert together.token_ids()[row][left].tolist() == alone.token_ids()[0].tolist()
        assert together.logits[row][left].tolist() == alone.logits[0].tolist()


def test_bind_gives_every_stage_the_vocabulary() -> None:
    vocabulary = Vocabulary(8, [b"x"] * 8, frozenset({0}), frozenset(), lambda text: [3] if text == "fox" else [1, 2])
    unbound = pipeline(("logit_bias", {"fox": -math.inf}), ("min_new_tokens", 1), ("top_k", 3))
    bound = unbound.bind(vocabulary)
    assert bound.names == unbound.names
    assert unbound.stages[0].entries == (("fox", -math.inf),)
    assert kept(bound(Candidates(torch.tensor([ROW])), MEMORY)) == [1, 2, 4]
    with pytest.raises(UsageError, match="'cat' is 2 tokens"):
        pipeline(("logit_bias", {"cat": 1})).bind(vocabulary)


@dataclass(frozen=True)
class Listener:
    """A stage that removes token 0 and notes every token it hears of, with its log-probability."""

    slot: int = 0

    place: ClassVar[float] = 0
    source: ClassVar[str] = "this test"

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        return candidates.without([0])

    def drawn(self, token_id: int, logprob: float, memory: Memory) -> None:
        memory.note(self.slot, (*memory.noted(self.slot, ()), (memory.step, token_id, logprob)))


def test_stages_that_listen_hear_of_the_drawn_token() -> None:
    (top_k,) = pipeline(("top_k", 3)).stages
    listening = Pipeline([("listener", Listener()), ("top_k", top_k), ("listener", Listener())])
    memories = [Memory([1]), Memory([2])]
    final = listening(Candidates(torch.tensor([ROW, ROW[::-1]])), memories)
    listening.drawn(final, [1, 7], memories)
    expected = torch.tensor([1.0, 0.5, 0.0]).log_softmax(0)[0]
    for memory, token, logit in zip(memories, (1, 7), (1.0, 5.0), strict=True):
        (heard,) = memory.noted(0)
        assert heard[:2] == (0, token)
        assert memory.noted(2) == (heard,)  # one that stands twice has two notes
        assert memory.noted(1) is None
        memory.append(token)
        if logit == 1.0:
            assert heard[2] == pytest.approx(float(expected), abs=1e-6)
    listening.drawn(final, [0, 6], memories)
    first, second = memories[0].noted(2)
    assert first[2] == pytest.approx(float(expected), abs=1e-6)
    assert second == (1, 0, -math.inf)  # given, but never drawn by this pipeline


def test_who_does_not_listen_hears_nothing() -> None:
    stages, memory = pipeline(("top_k", 3)), Memory([1])
    stages.drawn(stages(Candidates(torch.tensor([ROW])), [memory]), [0], [memory])
    assert memory.noted(0) is None
