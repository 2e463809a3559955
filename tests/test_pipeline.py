"""The pipeline: a fold in the given order, traced without another path, bound to a vocabulary."""

from __future__ import annotations

import math

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
