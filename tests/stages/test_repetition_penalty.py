"""Repetition penalty: the lesson's numbers, windows and scopes, and transformers as the oracle."""

from __future__ import annotations

import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor

from gencli.candidates import Candidates
from gencli.memory import Memory
from gencli.stages.repetition_penalty import RepetitionPenalty
from references import agrees

LESSON = [2, 1.5, 1, 0.5, -0.5, -1]


def remembering(prompt: list[int], output: list[int]) -> Memory:
    memory = Memory(prompt)
    for token in output:
        memory.append(token)
    return memory


def test_lesson_numbers(apply) -> None:
    after = apply("repetition_penalty", [float(each) for each in LESSON], [Memory([0, 1, 4])], penalty=1.5)
    assert after.logits[0].tolist() == pytest.approx([1.3333333, 1, 1, 0.5, -0.75, -1])


def test_once_however_often_it_appeared(apply) -> None:
    often = apply("repetition_penalty", [2.0, 1.0], [Memory([0] * 9)], penalty=1.5)
    assert often.logits[0].tolist() == pytest.approx([4 / 3, 1])


def test_below_one_invites_repetition(apply) -> None:
    after = apply("repetition_penalty", [2.0, -2.0, 1.0, 0.0], [Memory([0, 1, 3])], penalty=0.5)
    assert after.logits[0].tolist() == [4.0, -1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("last", "scope", "seen"),
    [
        (0, "prompt+output", [0, 1, 2, 3]),
        (0, "output", [2, 3]),
        (1, "prompt+output", [3]),
        (3, "prompt+output", [1, 2, 3]),
        (3, "output", [2, 3]),
        (99, "prompt+output", [0, 1, 2, 3]),
        (99, "output", [2, 3]),
    ],
)
def test_window(last: int, scope: str, seen: list[int]) -> None:
    stage = RepetitionPenalty(2.0, last, scope)
    after = stage(Candidates(torch.ones((1, 5))), [remembering([0, 1], [2, 3])])
    assert [token for token in range(5) if float(after.logits[0, token]) == 0.5] == seen


def test_nothing_seen_changes_nothing() -> None:
    after = RepetitionPenalty(2.0, 0, "output")(Candidates(torch.ones((1, 3))), [Memory([0, 1])])
    assert after.logits.tolist() == [[1.0, 1.0, 1.0]]


def test_agrees_with_transformers() -> None:
    agrees(
        [RepetitionPenalty(penalty) for penalty in (0.5, 1.0, 1.1, 1.5, 3.0)],
        lambda stage, row, memory: RepetitionPenaltyLogitsProcessor(stage.penalty)(torch.tensor([memory.ids]), row),
    )


@pytest.mark.parametrize(
    ("seen", "expected"), [([0], [0, 0.25, 0.25, 0.25, 0.25]), ([0, 1, 2], [0, 0, 0, 0.5, 0.5]), ([0, 1, 2, 0, 0], [0, 0, 0, 0.5, 0.5])]
)
def test_numbers_of_llama_cpp(apply, seen: list[int], expected: list[float]) -> None:
    after = apply("repetition_penalty", torch.full((1, 5), 0.2).log(), [Memory(seen)], penalty=50)
    assert after.probs()[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_after_a_filter_only_survivors_are_changed(apply) -> None:
    shrunk = Candidates(torch.tensor([[4.0, 3.0, -1.0]]), torch.tensor([[2, 5, 9]]))
    after = RepetitionPenalty(2.0)(shrunk, [Memory([0, 2, 7, 9, 11])])
    assert after.logits.tolist() == [[2.0, 3.0, -2.0]]
