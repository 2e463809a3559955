"""Distances between distributions: against scipy, and against the slow definition."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from gencli.candidates import Candidates
from gencli.distances import jensen_shannon, kept_sets, redrawn
from gencli.drawing import draw


@st.composite
def pairs(pick: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """Two distributions (1, n) over the same tokens, with holes."""
    size = pick(st.integers(1, 12))
    found = []
    for _ in range(2):
        row = torch.tensor(pick(st.lists(st.sampled_from([0.0, 0.0, 1e-9, 0.01, 0.5, 1.0, 3.0]), min_size=size, max_size=size)))
        row[pick(st.integers(0, size - 1))] += 1.0
        found.append((row.double() / row.double().sum())[None])
    return found[0], found[1]


@settings(max_examples=200)
@given(pairs())
def test_jensen_shannon_is_scipys(pair):
    one, other = pair
    theirs = jensenshannon(one[0].numpy(), other[0].numpy(), base=2)
    assert float(jensen_shannon(one, other)) ** 2 == pytest.approx(theirs**2, abs=1e-14)
    assert float(jensen_shannon(one, other)) == pytest.approx(theirs, abs=1e-7)  # a root makes 1e-8 of a rounding of 1e-16


def test_jensen_shannon_of_real_sizes():
    noise = torch.Generator().manual_seed(1)
    one, other = (torch.randn(5, 4000, generator=noise, dtype=torch.float64).mul(3).softmax(dim=1) for _ in range(2))
    ours = jensen_shannon(one, other)
    theirs = jensenshannon(one.numpy(), other.numpy(), base=2, axis=1)
    assert np.abs(ours.numpy() - theirs).max() < 1e-12


@given(pairs())
def test_equal_distributions_are_no_distance_apart_and_draw_the_same(pair):
    for each in pair:
        assert float(jensen_shannon(each, each.clone())) == 0.0
        assert float(redrawn(each, each.clone())) == 0.0


def test_disjoint_distributions_are_as_far_apart_as_can_be():
    one, other = torch.tensor([[0.5, 0.5, 0, 0]]).double(), torch.tensor([[0, 0, 0.75, 0.25]]).double()
    assert float(jensen_shannon(one, other)) == 1.0
    assert float(redrawn(one, other)) == 1.0


@settings(max_examples=60)
@given(pairs())
def test_what_the_same_number_draws(pair):
    """A slow walk: for every middle of the intervals that both draws know, the real draw, weighed by the interval."""
    one, other = pair
    ends = sorted({0.0, 1.0, *one.cumsum(1)[0].clamp(0, 1).tolist(), *other.cumsum(1)[0].clamp(0, 1).tolist()})
    changed = 0.0
    for start, end in pairwise(ends):
        number = (start + end) / 2
        drawn = [draw(Candidates(each.log()), [number])[0] for each in pair]
        changed += (end - start) * (drawn[0] != drawn[1])
    assert float(redrawn(one, other)) == pytest.approx(changed, abs=1e-6)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_kept_sets_are_sets(inside):
    one, other = (torch.tensor([[0.0 if kept else -torch.inf for kept in row]]) for row in zip(*inside, strict=True))
    first = {at for at, (kept, _) in enumerate(inside) if kept}
    second = {at for at, (_, kept) in enumerate(inside) if kept}
    assert [int(count) for count in kept_sets(one, other)] == [len(first & second), len(first - second), len(second - first)]
