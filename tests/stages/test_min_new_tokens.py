"""Minimum length: no end token before its time, row by row, and transformers as the oracle."""

from __future__ import annotations

import torch
from transformers import MinNewTokensLengthLogitsProcessor

from gencli.candidates import Candidates
from gencli.memory import Memory
from gencli.stages.min_new_tokens import MinNewTokens
from gencli.vocabulary import Vocabulary
from references import agrees


def bound(tokens: int, *ends: int) -> MinNewTokens:
    return MinNewTokens(tokens).bind(Vocabulary(9, [b"x"] * 9, frozenset(ends), frozenset(), lambda text: []))


def after(new: int) -> Memory:
    memory = Memory([0, 0])
    for _ in range(new):
        memory.append(1)
    return memory


def test_counts_new_tokens_only(kept) -> None:
    stage, logits = bound(2, 1, 3), Candidates(torch.zeros((1, 4)))
    assert [kept(stage(logits, [after(new)])) for new in range(4)] == [[0, 2], [0, 2], [0, 1, 2, 3], [0, 1, 2, 3]]


def test_each_row_by_its_own_length(kept) -> None:
    both = bound(2, 1)(Candidates(torch.zeros((2, 3))), [after(2), after(1)])
    assert [kept(both, row) for row in (0, 1)] == [[0, 1, 2], [0, 2]]


def test_where_only_the_end_is_left_it_may_come(kept) -> None:
    assert kept(bound(5, 1)(Candidates(torch.tensor([[-torch.inf, 1.0]])), [after(0)])) == [1]


def test_without_end_tokens_nothing_happens() -> None:
    candidates = Candidates(torch.zeros((1, 3)))
    assert bound(5)(candidates, [after(0)]) is candidates


def test_agrees_with_transformers() -> None:
    agrees(
        [MinNewTokens(tokens, (0,)) for tokens in (1, 3, 9)],
        lambda stage, row, memory: MinNewTokensLengthLogitsProcessor(memory.prompt_length, stage.tokens, [0], device="cpu")(
            torch.tensor([memory.ids]), row
        ),
    )


def test_because() -> None:
    assert bound(4, 1).because(Candidates(torch.zeros((1, 2))), 0, 1) == "an end token before 4 new tokens"
