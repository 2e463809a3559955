"""Length decay: numbers by hand, and transformers as the reference."""

from __future__ import annotations

import pytest
import torch
from transformers import ExponentialDecayLengthPenalty

from gencli.candidates import Candidates
from gencli.memory import Memory
from gencli.stages.length_decay import LengthDecay
from gencli.vocabulary import Vocabulary
from references import agrees


def after(new: int) -> Memory:
    memory = Memory([0, 0])
    for _ in range(new):
        memory.append(1)
    return memory


def bound(factor: float, start: int, *ends: int) -> LengthDecay:
    return LengthDecay(factor, start).bind(Vocabulary(9, [b"x"] * 9, frozenset(ends), frozenset(), lambda text: []))


@pytest.mark.parametrize(("new", "first", "last"), [(0, 2.0, -1.0), (3, 2.0, -1.0), (4, 4.0, 0.0), (5, 8.0, 2.0), (6, 16.0, 6.0)])
def test_numbers(new: int, first: float, last: float) -> None:
    """From the third new token on, the size of an end token's logit doubles and is added: 2 -> 2 + 2 x (2^n - 1)."""
    logits = bound(2.0, 3, 0, 2)(Candidates(torch.tensor([[2.0, 5.0, -1.0]])), [after(new)]).logits
    assert logits[0].tolist() == pytest.approx([first, 5.0, last])


def test_below_one_the_end_becomes_less_likely() -> None:
    logits = bound(0.5, 0, 0, 2)(Candidates(torch.tensor([[2.0, 5.0, -1.0]])), [after(1)]).logits
    assert logits[0].tolist() == [1.0, 5.0, -1.5]


def test_a_removed_end_stays_removed_and_a_long_text_is_still_a_number() -> None:
    logits = bound(2.0, 0, 0, 2)(Candidates(torch.tensor([[2.0, 5.0, -torch.inf]])), [after(10_000)]).logits
    assert logits[0].tolist() == [pytest.approx(1e30), 5.0, -torch.inf]


def test_without_end_tokens_nothing_happens() -> None:
    candidates = Candidates(torch.zeros((1, 3)))
    assert bound(2.0, 0)(candidates, [after(5)]) is candidates


def test_agrees_with_transformers() -> None:
    agrees(
        [LengthDecay(factor, start, (0,)) for factor, start in ((1.1, 0), (2.0, 5), (0.9, 2), (1.01, 0), (1.5, 10))],
        lambda stage, row, memory: ExponentialDecayLengthPenalty((stage.start, stage.factor), [0], memory.prompt_length)(
            torch.tensor([memory.ids]), row
        ),
    )
