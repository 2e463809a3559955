"""No repeated n-gram: numbers by hand, and transformers as the reference."""

from __future__ import annotations

import pytest
import torch
from transformers import NoRepeatNGramLogitsProcessor

from gencli.candidates import Candidates
from gencli.memory import Memory
from gencli.stages.no_repeat_ngram import NoRepeatNgram
from references import agrees


@pytest.mark.parametrize(
    ("ids", "size", "left"),
    [
        ([1, 2, 3, 1, 2], 3, [0, 1, 2, 4]),  # 1 2 3 is there already
        ([1, 2, 3, 1, 2, 4, 1, 2], 3, [0, 1, 2]),
        ([1, 2, 3, 1, 2], 2, [0, 1, 2, 4]),
        ([1, 2, 3, 1, 2], 1, [0, 4]),
        ([1, 2, 3, 1, 2], 4, [0, 1, 2, 3, 4]),
        ([1, 1], 2, [0, 2, 3, 4]),
        ([1], 3, [0, 1, 2, 3, 4]),
        ([1, 2, 3, 1, 2], 0, [0, 1, 2, 3, 4]),
    ],
)
def test_numbers(apply, kept, ids: list[int], size: int, left: list[int]) -> None:
    assert kept(apply("no_repeat_ngram", torch.zeros((1, 5)), [Memory(ids)], size=size)) == left


def test_each_row_by_its_own_text(kept) -> None:
    after = NoRepeatNgram(2)(Candidates(torch.zeros((2, 3))), [Memory([0, 1, 0]), Memory([0, 2, 0])])
    assert [kept(after, row) for row in (0, 1)] == [[0, 2], [0, 1]]


def test_where_nothing_would_be_left_it_may_repeat(apply, kept) -> None:
    assert kept(apply("no_repeat_ngram", torch.zeros((1, 2)), [Memory([0, 1])], size=1)) == [0, 1]


def test_agrees_with_transformers() -> None:
    agrees(
        [NoRepeatNgram(size) for size in (1, 2, 3, 4, 7)],
        lambda stage, row, memory: NoRepeatNGramLogitsProcessor(stage.size)(torch.tensor([memory.ids]), row),
    )


def test_because() -> None:
    assert NoRepeatNgram(3).because(Candidates(torch.zeros((1, 2))), 0, 1) == "the text already holds these 3 tokens in a row"
    assert NoRepeatNgram(1).because(Candidates(torch.zeros((1, 2))), 0, 1) == "the text already holds it"
