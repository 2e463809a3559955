"""Top-p: the lesson's numbers, the exact edge, brute force, and transformers as the oracle."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import TopPLogitsWarper

from gencli.candidates import Candidates
from gencli.drawing import draw
from gencli.errors import RunError
from gencli.stages import top_p
from gencli.stages.top_p import TopP
from references import agrees, cut_margin, log_probs

LIKELIEST = [3, 2, 1.5, 1, 0.5, 0, -0.5, -1]
PEAKED = [5, 1, 0.5, 0, -0.5, -1, -1.5, -2]
FLAT = [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]


@pytest.fixture(params=[(1, 64), (4096, 64), (1, 0)], ids=["bisected", "sorted", "near"], scope="module", autouse=True)
def _every_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test runs with the nucleus bracketed down to single weights, with one sort, and sought near the likeliest first."""
    before = top_p.SORTED, top_p.STEEP
    top_p.SORTED, top_p.STEEP = request.param
    yield
    top_p.SORTED, top_p.STEEP = before


def nucleus(row: list[float], p: float) -> list[int]:
    """The definition, slowly: likeliest first, lowest id among ties, until the sum reaches p."""
    peak = max(row)
    weights = [math.exp(logit - peak) for logit in row]
    chosen, left = [], p * math.fsum(weights) * (1 - 1e-12)
    for token in sorted(range(len(row)), key=lambda token: (-row[token], token)):
        chosen.append(token)
        left -= weights[token]
        if left <= 0:
            break
    return sorted(chosen)


@pytest.mark.parametrize(
    ("logits", "p", "count"),
    [(LIKELIEST, 0.9, 4), (PEAKED, 0.5, 1), (PEAKED, 0.7, 1), (PEAKED, 0.9, 1), (FLAT, 0.5, 4), (FLAT, 0.7, 5), (FLAT, 0.9, 7)],
)
def test_lesson_numbers(apply, kept, logits: list[float], p: float, count: int) -> None:
    assert kept(apply("top_p", [float(each) for each in logits], p=p)) == list(range(count))


def test_two_equally_likely_tokens(apply, kept) -> None:
    two = [3.0, 3.0, -1.0, -1.0, -2.0, -2.0, -3.0, -3.0, -4.0, -4.0]
    assert kept(apply("top_p", two, p=0.5)) == [0, 1]  # each has .486
    assert kept(apply("top_p", two, p=0.48)) == [0]


def test_a_sum_that_equals_p_completes_the_set(apply, kept) -> None:
    assert kept(apply("top_p", [0.0, 0.0], p=0.5)) == [0]
    assert kept(apply("top_p", [0.0, 0.0, 0.0, 0.0], p=0.75)) == [0, 1, 2]
    assert kept(apply("top_p", [0.0, 0.0], p=math.nextafter(0.5, 1) + 1e-9)) == [0, 1]


@given(st.integers(1, 120).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, size))))
def test_k_of_n_equal_tokens(sizes: tuple[int, int]) -> None:
    """However k / n is rounded, and wherever the sum is, k tokens hold it."""
    n, k = sizes
    after = TopP(k / n)(Candidates(torch.full((1, n), -3.7)), ())
    assert after.token_ids()[0].tolist() == list(range(k))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20).flatmap(lambda row: st.tuples(st.just(row), st.integers(1, sum(row)))))
def test_whole_numbers_as_weights(case: tuple[list[int], int]) -> None:
    """Probabilities that are whole numbers of a total: which tokens reach p is decided in whole numbers."""
    weights, need = case
    order = sorted(range(len(weights)), key=lambda token: (-weights[token], token))
    count = next(count for count in range(1, len(order) + 1) if sum(weights[token] for token in order[:count]) >= need)
    logits = torch.tensor([[math.log(weight) for weight in weights]], dtype=torch.float64)
    after = TopP(need / sum(weights))(Candidates(logits), ())
    assert after.token_ids()[0].tolist() == sorted(order[:count])


@settings(deadline=None)
@given(
    st.lists(st.floats(-30, 30) | st.sampled_from([0.0, 1.0, 1.0 + 1e-9, -torch.inf]), min_size=1, max_size=40),
    st.floats(0, 1, exclude_min=True) | st.sampled_from([0.5, 0.9, 0.95, 1e-300, 1 - 1e-16]),
)
def test_is_the_definition(row: list[float], p: float) -> None:
    if max(row) == -torch.inf or p == 1:
        return
    after = TopP(p)(Candidates(torch.tensor([row], dtype=torch.float64)), ())
    chosen, expected = after.token_ids()[0].tolist(), nucleus(row, p)
    # the sums are taken in another order: a token of less than 1e-11 may fall to either side
    differing = sum(math.exp(row[token] - max(row)) for token in set(chosen) ^ set(expected))
    assert differing < 1e-11
    assert chosen == sorted(chosen)


def shaped(kind: str, size: int, generator: torch.Generator) -> Tensor:
    """(size,) float64 logits of a kind that a language model gives, or that is hard to bisect."""
    noise = torch.randn(size, dtype=torch.float64, generator=generator)
    rank = torch.randperm(size, generator=generator).double() + 1
    return {
        "zipf": -1.2 * rank.log() + 0.3 * noise,
        "flat": 0.02 * noise,
        "normal": noise,
        "outlier": torch.where(rank == 1, 60.0, 0.001 * noise),
        "two levels": torch.where(rank > size // 2, 0.0, -5.0),
        "tied": (2 * noise).round(),
        "equal": torch.zeros(size, dtype=torch.float64),
    }[kind]


@pytest.mark.parametrize("kind", ["zipf", "flat", "normal", "outlier", "two levels", "tied", "equal"])
@pytest.mark.parametrize("p", [0.02, 0.5, 0.95, 0.9999])
def test_large_vocabularies(kind: str, p: float) -> None:
    row = shaped(kind, 12_000, torch.Generator().manual_seed(5))
    best, order = row.sort(descending=True, stable=True)
    sums = (best - best[0]).exp().cumsum(0)
    count = int((sums < p * sums[-1] * (1 - 1e-12)).sum()) + 1
    after = TopP(p)(Candidates(row[None]), ())
    assert after.token_ids()[0].tolist() == order[:count].sort().values.tolist()
    # in float32 only tokens whose deciding sum lies within 1e-5 of p may fall otherwise
    coarse = TopP(p)(Candidates(row[None].float()), ())
    differing = torch.tensor(sorted(set(coarse.token_ids()[0].tolist()) ^ set(order[:count].tolist())), dtype=torch.int64)
    reached = torch.empty_like(sums).index_copy_(0, order, sums / sums[-1])
    border = sums[count - 1] / sums[-1]
    assert bool(((reached[differing] - border).abs() < 1e-5 + 1e-3 / 12_000).all())


def test_agrees_with_transformers() -> None:
    agrees(
        [TopP(p) for p in (1e-3, 0.3, 0.9, 0.95, 0.999)],
        lambda stage, row, _: TopPLogitsWarper(stage.p)(None, row),
        lambda stage, row, _: cut_margin(-row[0], log_probs(row).exp(), stage.p),
    )


@pytest.mark.parametrize(
    ("p", "expected"), [(1e-9, [1.0]), (0.7, [0.428571, 0.571429]), (0.8, [0.22222, 0.33333, 0.44444]), (1.0, [0.1, 0.2, 0.3, 0.4])]
)
def test_numbers_of_llama_cpp(apply, p: float, expected: list[float]) -> None:
    row = torch.tensor([[0.1, 0.2, 0.3, 0.4]], dtype=torch.float64).log()
    assert apply("top_p", row, p=p).probs()[0].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("place", range(3))
def test_nan_stays_in_play(place: int) -> None:
    row = torch.zeros((1, 3))
    row[0, place] = torch.nan
    with pytest.raises(RunError, match="NaN"):
        draw(TopP(0.5)(Candidates(row), ()), [0.5])


def test_because() -> None:
    before = Candidates(torch.tensor([[0.0, 0.0, 0.0, 0.0]]))
    assert TopP(0.5).because(before, 0, 3) == "the likelier tokens already hold 75 % >= 50 %"
