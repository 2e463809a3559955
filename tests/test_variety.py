"""Variety against plain definitions, and intervals against scipy and against what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from gencli.gathering import Written
from gencli.variety import Estimate, distinct, loops, mean_of_all, student, unique_share, variety, wilson

texts = st.lists(st.lists(st.integers(0, 4), max_size=8), min_size=1, max_size=8)


def slow_distinct(texts, n):
    """The definition: different n-grams over all n-grams."""
    grams = [tuple(ids[at : at + n]) for ids in texts for at in range(len(ids)) if at + n <= len(ids)]
    return len(set(grams)) / len(grams) if grams else None


@settings(max_examples=300)
@given(texts, st.integers(1, 3))
def test_distinct_n_is_its_definition_and_its_interval_the_jackknifes(texts, n):
    found, value = distinct(texts, n), slow_distinct(texts, n)
    if value is None:
        assert found is None
        return
    assert found.value == value
    without = [slow_distinct(texts[:at] + texts[at + 1 :], n) for at in range(len(texts))]
    if len(texts) < 2 or None in without:
        assert (found.low, found.high) == (None, None)
        return
    size = len(texts)
    error = math.sqrt((size - 1) / size * sum((each - sum(without) / size) ** 2 for each in without))
    assert found.low == pytest.approx(max(0.0, value - student(size - 1) * error))
    assert found.high == pytest.approx(min(1.0, value + student(size - 1) * error))


@given(st.lists(st.text(alphabet="ab", max_size=2), min_size=1, max_size=30))
def test_the_unique_share_is_its_definition(texts):
    different = [text for at, text in enumerate(texts) if text not in texts[:at]]
    assert unique_share(texts) == len(different) / len(texts)


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (10, 10), (1, 1), (0, 1), (3, 7), (41, 200), (999, 1000)])
def test_wilson_is_scipys(hits, trials):
    theirs = scipy.stats.binomtest(hits, trials).proportion_ci(0.95, method="wilson")
    ours = wilson(hits, trials)
    assert (ours.value, ours.low, ours.high) == pytest.approx((hits / trials, theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 19, 99, 199, 10_000])
def test_students_quantile_is_scipys(freedom):
    assert student(freedom) == pytest.approx(scipy.stats.t.ppf(0.975, freedom), rel=1e-2 if freedom == 2 else 2e-3)


@given(st.lists(st.floats(0, 10), min_size=3, max_size=12))
def test_where_samples_are_alike_in_length_the_interval_is_that_of_the_mean(numbers):
    found = mean_of_all([[number] * 5 for number in numbers])
    reach = student(len(numbers) - 1) * float(scipy.stats.sem(numbers))
    assert found.value == pytest.approx(np.mean(numbers))
    assert found.high - found.value == pytest.approx(reach, abs=1e-9)
    assert found.low == pytest.approx(max(0.0, np.mean(numbers) - reach), abs=1e-9)


def test_the_interval_of_a_mean_is_near_scipys_bootstrap():
    noise = np.random.default_rng(5)
    groups = [noise.gamma(2.0, size=int(noise.integers(10, 40))).tolist() for _ in range(60)]
    sums, counts = np.array([sum(group) for group in groups]), np.array([len(group) for group in groups])
    theirs = scipy.stats.bootstrap(
        (sums, counts), lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis), paired=True, vectorized=True, random_state=noise
    ).confidence_interval
    ours = mean_of_all(groups)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.02)


def coverage(intervals, truth):
    return float(np.mean([each.low <= truth <= each.high for each in intervals]))


@pytest.mark.parametrize("kind", ["uniform", "zipf", "half of it one text"])
def test_wilsons_interval_holds_the_unique_share(kind):
    """Texts are no coin tosses: drawn from known distributions (fixed noise, so no false alarm), 95 % of the intervals hold it."""
    sizes = {"uniform": np.ones(300), "zipf": 1 / np.arange(1, 3000), "half of it one text": np.array([3000.0] + [1.0] * 3000)}
    shares, noise = sizes[kind] / sizes[kind].sum(), np.random.default_rng(2)
    unique = [len(set(noise.choice(len(shares), 100, p=shares).tolist())) for _ in range(600)]
    assert coverage([wilson(count, 100) for count in unique], np.mean(unique) / 100) >= 0.94


def test_the_jackknifes_interval_holds_distinct_2():
    """Texts from a Markov chain, fixed noise: at least 94 % of the intervals hold the mean over all of them."""
    noise = np.random.default_rng(3)
    chain = noise.dirichlet(np.full(50, 0.1), size=50).cumsum(axis=1)

    def text():
        ids = [0]
        for number in noise.random(15):
            ids.append(min(49, int(np.searchsorted(chain[ids[-1]], number))))
        return ids[1:]

    found = [distinct([text() for _ in range(12)], 2) for _ in range(250)]
    assert coverage(found, np.mean([each.value for each in found])) >= 0.94


def test_loops_are_found_anywhere():
    assert loops([1, 2] * 12)
    assert loops([9, *[1, 2] * 12, 5, 6])
    assert not loops([1, 2] * 11)
    assert not loops([])


def written(text, ids, reason="length", entropies=(1.0,)):
    return Written(0, list(ids), [text], list(entropies), reason)


def test_the_figures_of_a_few_samples():
    samples = [written("a", [1, 2, 3]), written("a", [1, 2, 3, 0], "end_token", (2.0, 4.0)), written("b", [5] * 24)]
    found = variety(samples)
    assert (found.samples, found.tokens) == (3, 31)
    assert found.unique == wilson(2, 3)
    assert [each.value for each in found.distinct] == [4 / 30, 3 / 27, 2 / 24]  # without the end token
    assert found.loops == wilson(1, 3)
    assert found.entropy.value == 2.0
    assert found.endings == {"length": 2, "end_token": 1}


def test_one_sample_has_no_interval_where_samples_are_compared():
    found = variety([written("a", [1, 1], entropies=())])
    assert found.distinct == (Estimate(0.5), Estimate(1.0), None)
    assert found.entropy is None
    assert found.unique == wilson(1, 1)
