"""A record is checked before it is used, and its completions are ones: the right number of tokens, none too likely, the right mass."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gencli.events import Logits
from gencli.unrecorded import ROUNDING, Record
from recorded import logits_of

SIZE = 500


def packed(values, kind=torch.float32) -> bytes:
    return torch.as_tensor(values).to(kind).numpy().tobytes()


def record_of(row: torch.Tensor, held: list[int]) -> Logits:
    others = [float(value) for token, value in enumerate(row) if token not in held]
    ids = torch.tensor(held)
    return Logits(len(row), packed(ids, torch.int32), packed(row[ids]), b"", float(row.double().logsumexp(0)), max(others))


GOOD = record_of(logits_of(2, SIZE, 1)[0], [1, 5, 7, 300])


@settings(max_examples=100, deadline=None)
@given(st.floats(0.1, 20), st.integers(0, 10**6), st.integers(1, SIZE - 2), st.booleans())
def test_what_the_rest_holds_lies_in_its_bounds(scale, noise, count, likeliest):
    row = logits_of(scale, SIZE, noise)[0]
    order = row.argsort(descending=True) if likeliest else torch.arange(SIZE)
    held = sorted(order[:count].tolist())
    record = Record.of(record_of(row, held))
    others = row.double().index_fill(0, torch.tensor(held), -math.inf)
    low, high = record.rest_total
    assert low - 1e-6 <= float(others.logsumexp(0)) <= high + 1e-6
    assert math.exp(high - record.log_total) - math.exp(low - record.log_total) <= 3 * ROUNDING


@settings(max_examples=50, deadline=None)
@given(st.floats(0.1, 8), st.integers(0, 10**6), st.integers(1, SIZE - 2))
def test_the_example_fits_the_record(scale, noise, count):
    row = logits_of(scale, SIZE, noise)[0]
    held = list(range(count))
    logits = record_of(row, held)
    values = Record.of(logits).example.logits[0]
    assert torch.equal(values[held], row[held])
    assert float(values[count:].max()) <= max(row[count:].tolist()) + 1e-5
    assert float(values.double().logsumexp(0)) == pytest.approx(logits.log_total, abs=3 * ROUNDING)


def test_a_whole_record_is_itself():
    row = logits_of(2, SIZE, 1)[0]
    record = Record.of(Logits(SIZE, b"", packed(row), b"", float(row.double().logsumexp(0)), None))
    assert torch.equal(record.example.logits[0], row)


def test_where_nothing_else_is_possible_the_rest_is_gone():
    row = torch.full((SIZE,), -math.inf)
    row[[3, 4]] = torch.tensor([1.0, 2.0])
    record = Record.of(Logits(SIZE, packed([3, 4], torch.int32), packed([1.0, 2.0]), b"", float(row.double().logsumexp(0)), None))
    assert torch.equal(record.example.logits[0], row)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": 0}, "a vocabulary has"),
        ({"size": 2**60}, "a vocabulary has"),
        ({"size": 200}, "do not ascend"),
        ({"ids": packed([5, 1, 7, 300], torch.int32)}, "do not ascend"),
        ({"ids": packed([1, 1, 7, 300], torch.int32)}, "do not ascend"),
        ({"ids": packed([-1, 5, 7, 300], torch.int32)}, "do not ascend"),
        ({"ids": b"abc"}, "whole numbers"),
        ({"ids": b""}, "for 500 tokens"),
        ({"raw": b"abcde"}, "whole numbers"),
        ({"raw": packed([1.0])}, "for 4 tokens"),
        ({"final": packed([1.0])}, "for 4 tokens"),
        ({"raw": packed([1.0, math.nan, 1, 1])}, "are not numbers"),
        ({"final": packed([1.0, math.inf, 1, 1])}, "are not numbers"),
        ({"final": packed([-math.inf] * 4)}, "are not numbers"),
        ({"log_total": -1e300}, "do not add up"),
        ({"log_total": 1e300}, "do not add up"),
        ({"highest": -1e300}, "do not add up"),
        ({"highest": None}, "do not add up"),
    ],
    ids=str,
)
def test_what_is_no_record_says_why(change, said):
    assert Record.of(GOOD).size == SIZE
    with pytest.raises(ValueError, match=said):
        Record.of(replace(GOOD, **change))
