"""The beginning of an order, beside a full sort, narrowed down and sorted at once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gencli import selection
from gencli.selection import beginning


def slowly(keys: list[float], weights: list[int], limit: int, within: bool) -> list[int]:
    """The definition in whole numbers."""
    order = sorted(range(len(keys)), key=lambda place: (keys[place], place))
    chosen: list[int] = []
    for place in order:
        sum_ = sum(weights[each] for each in chosen)
        if chosen and (sum_ + weights[place] > limit if within else sum_ >= limit):
            break
        chosen.append(place)
    return sorted(chosen)


@pytest.fixture(params=[1, 2048], ids=["narrowed", "sorted"], scope="module", autouse=True)
def _both_ways(request: pytest.FixtureRequest) -> None:
    before, selection.SORTED = selection.SORTED, request.param
    sample, selection.SAMPLE = selection.SAMPLE, 1 if request.param == 1 else selection.SAMPLE
    yield
    selection.SORTED, selection.SAMPLE = before, sample


@given(
    st.lists(
        st.tuples(st.sampled_from([-1.0, 0.0, 0.5, 2.0, float("inf")]) | st.floats(-5, 5), st.integers(0, 9)), min_size=1, max_size=60
    ),
    st.integers(0, 300),
    st.booleans(),
)
def test_is_the_definition(items: list[tuple[float, int]], limit: int, within: bool) -> None:
    keys, weights = [key for key, _ in items], [weight for _, weight in items]
    found = beginning(torch.tensor(keys, dtype=torch.float64), torch.tensor(weights, dtype=torch.float64), float(limit), within=within)
    assert found.tolist() == slowly(keys, weights, limit, within)


@pytest.mark.parametrize("within", [False, True])
def test_a_hundred_thousand_keys(within: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    keys = torch.randint(0, 3000, (100_000,), generator=generator).float()
    weights = torch.randint(0, 5, (100_000,), generator=generator).double()
    sums = weights[keys.sort(stable=True).indices].cumsum(0)
    for limit in (1.0, 50_000.0, 199_000.0):
        count = max(1, int((sums <= limit).sum())) if within else int((sums < limit).sum()) + 1
        expected = keys.sort(stable=True).indices[:count].sort().values
        assert torch.equal(beginning(keys, weights, limit, within=within), expected)


@pytest.mark.parametrize("limit", [float("nan"), float("inf")])
def test_a_limit_that_is_no_number_chooses_nothing(limit: float) -> None:
    assert beginning(torch.zeros(5), torch.ones(5), limit).tolist() == []


def test_keys_that_are_no_numbers_end() -> None:
    assert beginning(torch.full((9,), torch.nan), torch.ones(9), 3.0).tolist() == [0, 1, 2]
