"""Temperature: the lesson's softmax numbers, the real arg-max at 0, and transformers as the oracle."""

from __future__ import annotations

import pytest
import torch
from transformers import TemperatureLogitsWarper

from gencli.stages.temperature import Temperature
from references import agrees

LESSON = [2, 1.5, 0.5, 0, -0.5, -1, -1.5, -2]


def test_lesson_numbers(apply) -> None:
    probs = {heat: apply("temperature", [float(each) for each in LESSON], temperature=heat).probs()[0] for heat in (0.5, 1, 2)}
    for heat, row in probs.items():
        assert row.tolist() == pytest.approx(torch.tensor(LESSON, dtype=torch.float64).div(heat).softmax(0).tolist(), rel=1e-6)
    assert probs[1].tolist() == pytest.approx([0.46612, 0.28271, 0.10400, 0.06308, 0.03826, 0.02321, 0.01408, 0.00854], abs=1e-5)
    assert probs[0.5][0] > probs[1][0] > probs[2][0]  # sharpens, keeps, flattens
    assert probs[0.5][-1] < probs[1][-1] < probs[2][-1]


def test_agrees_with_transformers() -> None:
    heats = [Temperature(heat) for heat in (1e-3, 0.1, 0.7, 1.0, 1.5, 100.0)]
    agrees(heats, lambda stage, row, _: TemperatureLogitsWarper(stage.temperature)(None, row))


@pytest.mark.parametrize(
    ("logits", "token"),
    [([0.0, 3.0, 1.0], 1), ([2.0, 2.0, 2.0], 0), ([-1.0, 5.0, 5.0], 1), ([0.0, 1e-7, 0.0], 1), ([-torch.inf, -9.0], 1), ([4.0], 0)],
)
def test_zero_is_the_arg_max_lowest_id_first(apply, kept, logits: list[float], token: int) -> None:
    assert kept(apply("temperature", logits, temperature=0)) == [token]


def test_zero_in_a_batch(apply, kept) -> None:
    after = apply("temperature", [[1.0, 2.0, 3.0], [3.0, 3.0, 1.0]], temperature=0)
    assert after.logits.tolist() == [[3.0], [3.0]]
    assert [kept(after, row) for row in (0, 1)] == [[2], [0]]


@pytest.mark.parametrize("heat", [1e-300, 1e-40, 1e-30, 1e-10])
def test_next_to_zero_is_as_good_as_the_arg_max(apply, heat: float) -> None:
    after = apply("temperature", [[1.0, 1.0 + 2**-20, -40.0, 40.0, 40.0]], temperature=heat)
    assert after.probs()[0].tolist() == [0.0, 0.0, 0.0, 0.5, 0.5]
    assert bool(after.logits.isfinite().all())


def test_because() -> None:
    assert Temperature(0.0).because(None, 0, 1) == "temperature 0 keeps only the likeliest token"
