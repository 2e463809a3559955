"""The beginning of an order, beside a full sort, narrowed down and sorted at once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gencli import selection
from gencli.selection import beginning, descending, largest


def slowly(keys: list[float], weights: list[int], limit: int) -> list[int]:
    """The definition in whole numbers."""
    order = sorted(range(len(keys)), key=lambda place: (keys[place], place))
    chosen: list[int] = []
    for place in order:
        if chosen and sum(weights[each] for each in chosen) >= limit:
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
)
def test_is_the_definition(items: list[tuple[float, int]], limit: int) -> None:
    keys, weights = [key for key, _ in items], [weight for _, weight in items]
    found = beginning(torch.tensor(keys, dtype=torch.float64), torch.tensor(weights, dtype=torch.float64), float(limit))
    assert found.tolist() == slowly(keys, weights, limit)


@pytest.mark.parametrize("limit", [1.0, 50_000.0, 199_000.0, 1e9])
def test_a_hundred_thousand_keys(limit: float) -> None:
    generator = torch.Generator().manual_seed(1)
    keys = torch.randint(0, 3000, (100_000,), generator=generator).float()
    weights = torch.randint(0, 5, (100_000,), generator=generator).double()
    order = keys.sort(stable=True).indices
    count = int((weights[order].cumsum(0) < limit).sum()) + 1
    assert torch.equal(beginning(keys, weights, limit), order[:count].sort().values)


@pytest.mark.parametrize("limit", [float("nan"), float("inf")])
def test_a_limit_that_is_no_number_chooses_nothing(limit: float) -> None:
    assert beginning(torch.zeros(5), torch.ones(5), limit).tolist() == []


def test_keys_that_are_no_numbers_choose_nothing() -> None:
    assert beginning(torch.full((9,), torch.nan), torch.ones(9), 3.0).tolist() == []


@given(st.lists(st.sampled_from([-torch.inf, -1.0, 0.0, 0.5]) | st.floats(-5, 5), min_size=1, max_size=40), st.integers(1, 45))
def test_exactly_so_many_of_the_largest(values: list[float], count: int) -> None:
    order = sorted(range(len(values)), key=lambda place: (-values[place], place))
    assert largest(torch.tensor(values, dtype=torch.float64), count).tolist() == sorted(order[:count])


@pytest.mark.parametrize("size", [1, 4096, 4097, 10_000])
def test_falling_order_comes_in_parts(size: int) -> None:
    values = torch.randn(size, generator=torch.Generator().manual_seed(3))
    expected = values.double().sort(descending=True).values
    found = list(descending(values))
    assert [len(each) for each in found] == ([4096, size] if size > 4096 else [size])
    assert all(torch.equal(torch.from_numpy(each.copy()), expected[: len(each)]) for each in found)
