"""The lesson's functions: its numbers, its semantics, its errors; the same stages as the command line's."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gencli import lesson
from gencli.cache import KVCache
from gencli.lesson import (
    apply_repetition_penalty,
    create_gpt_tiny,
    generate,
    get_token_probabilities,
    get_top_tokens,
    measure_diversity,
    top_k_filtering,
    top_p_filtering,
)
from toys import Counter

GONE = -torch.inf
TOP_K = [1, 3, 0.5, 2.5, 0, 2, -1, 1.5]
TOP_P = [3, 2, 1.5, 1, 0.5, 0, -0.5, -1]
PEAKED = [5, 1, 0.5, 0, -0.5, -1, -1.5, -2]
FLAT = [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
TWO = [3, 3, -1, -1, -2, -2, -3, -3, -4, -4]


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float32)


def left(logits: Tensor) -> list[int]:
    """The ids of the first row that survive."""
    return (logits[0] > GONE).nonzero()[:, 0].tolist()


# the numbers


def test_softmax_and_temperature() -> None:
    """get_token_probabilities is the softmax; the temperature sharpens, keeps, flattens (tests/stages has its numbers)."""
    logits = [2, 1.5, 0.5, 0, -0.5, -1, -1.5, -2]
    probs = get_token_probabilities(lambda ids: torch.tensor(logits).expand(*ids.shape, -1), torch.tensor([[0, 1]]))
    assert probs[0].tolist() == pytest.approx([0.46612, 0.28271, 0.10400, 0.06308, 0.03826, 0.02321, 0.01408, 0.00854], abs=1e-5)


@pytest.mark.parametrize(
    ("k", "ids"),
    [(3, [1, 3, 5]), (5, [0, 1, 3, 5, 7]), (0, list(range(8))), (None, list(range(8))), (8, list(range(8))), (99, list(range(8)))],
)
def test_top_k(k: int | None, ids: list[int]) -> None:
    assert left(top_k_filtering(row(*TOP_K), k)) == ids


@pytest.mark.parametrize(
    ("logits", "p", "count"),
    [
        (TOP_P, 0.9, 4),
        *((PEAKED, p, 1) for p in (0.5, 0.7, 0.9)),
        (FLAT, 0.5, 4),
        (FLAT, 0.7, 5),
        (FLAT, 0.9, 7),
        (TWO, 0.5, 2),
        (FLAT, 1.0, 8),
    ],
)
def test_top_p(logits: list[float], p: float, count: int) -> None:
    assert left(top_p_filtering(row(*logits), p)) == list(range(count))


def test_two_equally_likely_tokens() -> None:
    assert left(top_k_filtering(row(*TWO), 2)) == left(top_p_filtering(row(*TWO), 0.5)) == [0, 1]
    assert row(*TWO).softmax(1)[0, :2].tolist() == pytest.approx([0.486, 0.486], abs=5e-4)
    # where the sum equals p exactly, the set is complete
    assert left(top_p_filtering(row(0, 0), 0.5)) == [0]


def test_repetition_penalty() -> None:
    after = apply_repetition_penalty(row(2, 1.5, 1, 0.5, -0.5, -1), torch.tensor([[0, 1, 4]]), 1.5)
    assert after[0].tolist() == pytest.approx([1.3333333, 1, 1, 0.5, -0.75, -1])


def test_kv_cache() -> None:
    """32 layers, width 4096, 8192 positions, float16: 2 x 32 x 4096 x 8192 x 2 bytes = 4 GiB a sequence."""
    cache = KVCache(32, 1, 32, 8192, 128, dtype=torch.float16, device="meta")
    assert cache.nbytes == 2 * 32 * 4096 * 8192 * 2 == 4 * 2**30


# the filters


FILTERS: list[Callable[[Tensor], Tensor]] = [
    lambda logits: top_k_filtering(logits, 3),
    lambda logits: top_k_filtering(logits, 0),
    lambda logits: top_p_filtering(logits, 0.6),
    lambda logits: top_p_filtering(logits, 1.0),
    lambda logits: apply_repetition_penalty(logits, torch.tensor([[1, 2, 1]] * len(logits)), 1.3),
    lambda logits: apply_repetition_penalty(logits, torch.tensor([[1, 2, 1]] * len(logits)), 1.0),
]


@pytest.mark.parametrize("function", FILTERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_filters_leave_their_input_alone(function: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    logits = torch.randn((3, 8), generator=torch.Generator().manual_seed(0)).to(dtype)
    before = logits.clone()
    after = function(logits)
    assert after.shape == logits.shape
    assert after.dtype == dtype
    after.fill_(7)
    assert torch.equal(logits, before)


@pytest.mark.parametrize("function", FILTERS)
def test_rows_are_independent(function: Callable[[Tensor], Tensor]) -> None:
    logits = torch.randn((4, 30), generator=torch.Generator().manual_seed(1)) * 2
    together = function(logits)
    for index in range(4):
        assert torch.equal(function(logits[index : index + 1]), together[index : index + 1])


def test_exactly_k_even_among_ties() -> None:
    assert left(top_k_filtering(row(1, 1, 1, 1), 2)) == [0, 1]


def test_logits_that_already_hold_removed_ones() -> None:
    assert left(top_p_filtering(row(GONE, 1, 1, GONE, -9), 0.9)) == [1, 2]
    assert left(top_k_filtering(row(GONE, 1, GONE), 2)) == [1]


def test_penalty_counts_once_and_below_one_invites() -> None:
    assert apply_repetition_penalty(row(2, 1), torch.tensor([[0, 0, 0]]), 2.0).tolist() == [[1.0, 1.0]]
    assert apply_repetition_penalty(row(2, -2), torch.tensor([[0, 1]]), 0.5).tolist() == [[4.0, -1.0]]
    nothing_yet = torch.zeros((1, 0), dtype=torch.int64)
    assert apply_repetition_penalty(row(2, -2), nothing_yet, 2.0).tolist() == [[2.0, -2.0]]


# looking


def test_top_tokens() -> None:
    probs = torch.tensor([0.1, 0.4, 0.1, 0.3, 0.1])
    assert get_top_tokens(probs, 3) == [(1, pytest.approx(0.4)), (3, pytest.approx(0.3)), (0, pytest.approx(0.1))]
    assert get_top_tokens(probs[None], 1) == [(1, pytest.approx(0.4))]
    assert [token for token, _ in get_top_tokens(probs, 99)] == [1, 3, 0, 2, 4]
    assert get_top_tokens(probs, 0) == []
    assert len(get_top_tokens(torch.full((30,), 1 / 30))) == 5


def test_diversity() -> None:
    prompt = torch.tensor([[1]])
    assert measure_diversity(Counter(), prompt, temperature=0) == 1 / 20
    assert measure_diversity(Counter(), prompt, 10, do_sample=False) == 1 / 10
    assert measure_diversity(Counter(0.0), prompt, 30) == 1.0
    shares = [measure_diversity(Counter(3.0), prompt, 40, max_new_tokens=4, temperature=heat) for heat in (0.2, 0.7, 1.5)]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]


def test_diversity_is_repeatable_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    shares = {measure_diversity(Counter(2.0), torch.tensor([[1], [2]]), 15, max_new_tokens=3) for _ in range(3)}
    assert len(shares) == 1
    assert torch.equal(torch.rand(3), expected)


# errors


PROMPT = torch.tensor([[1, 2]])
NAN = row(1.0, float("nan"))
WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: top_p_filtering(row(1, 2), 0.0), r"top_p must be in \(0, 1\], not 0\.0\."),
    (lambda: top_p_filtering(row(1, 2), 1.1), r"top_p must be in \(0, 1\], not 1\.1\."),
    (lambda: top_p_filtering(row(1, 2), float("nan")), r"top_p must be in \(0, 1\], not nan\."),
    (lambda: top_k_filtering(row(1, 2), -1), r"top_k must be a whole number at least 0, not -1\."),
    (lambda: top_k_filtering(row(1, 2), 1.5), r"top_k must be a whole number at least 0, not 1\.5\."),
    (lambda: apply_repetition_penalty(row(1, 2), PROMPT[:, :1], 0), r"penalty must be in \[0\.01, 100\], not 0\."),
    (lambda: apply_repetition_penalty(row(1, 2), PROMPT[:, :1], -1.0), r"penalty must be in \[0\.01, 100\], not -1\.0\."),
    (lambda: apply_repetition_penalty(row(1, 2), PROMPT, 1.1), r"previous_tokens must lie in 0 \.\. 1, not 2\."),
    (lambda: apply_repetition_penalty(row(1, 2), torch.tensor([[-1]]), 1.1), r"previous_tokens must lie in 0 \.\. 1, not -1\."),
    (
        lambda: apply_repetition_penalty(row(1, 2), torch.tensor([[1], [1]]), 1.1),
        r"previous_tokens must have one row for each of the 1 rows",
    ),
    (lambda: apply_repetition_penalty(row(1, 2), torch.tensor([0, 1]), 1.1), r"previous_tokens must be token ids \(B, T\)"),
    (lambda: apply_repetition_penalty(row(1, 2), row(0, 1), 1.1), r"previous_tokens must be token ids \(B, T\)"),
    (lambda: top_k_filtering(NAN, 1), r"logits must be numbers.*NaN or \+inf are out of range\."),
    (lambda: top_p_filtering(NAN, 0.5), r"logits must be numbers"),
    (lambda: apply_repetition_penalty(NAN, PROMPT[:, :1], 1.1), r"logits must be numbers"),
    (lambda: top_k_filtering(row(torch.inf, 0), 1), r"logits must be numbers"),
    (lambda: top_k_filtering(row(GONE, GONE), 1), r"logits must be numbers, at least one in each row"),
    (lambda: top_k_filtering(torch.zeros(3), 1), r"logits must be a tensor \(B, V\) of floats, not \(3,\) of torch\.float32\."),
    (lambda: top_k_filtering(PROMPT, 1), r"logits must be a tensor \(B, V\) of floats, not \(1, 2\) of torch\.int64\."),
    (lambda: top_k_filtering([[1.0]], 1), r"logits must be a tensor \(B, V\) of floats, not list\."),
    (lambda: generate(Counter(), PROMPT, 3, temperature=-0.1), r"temperature must be in \[0, 100\], not -0\.1\."),
    (lambda: generate(Counter(), PROMPT, 3, top_k=-1), r"top_k must be"),
    (lambda: generate(Counter(), PROMPT, 3, top_p=2), r"top_p must be in \(0, 1\], not 2\."),
    (lambda: generate(Counter(), PROMPT, 3, repetition_penalty=0), r"repetition_penalty must be in \[0\.01, 100\], not 0\."),
    (lambda: generate(Counter(), PROMPT, -1), r"max_new_tokens must be a whole number at least 0, not -1\."),
    (lambda: generate(Counter(), PROMPT, 1, eos_token_id=-1), r"eos_token_id must be a whole number at least 0, not -1\."),
    (lambda: generate(Counter(), PROMPT, 3, top_kk=1), r"there is no setting 'top_kk'\. Did you mean 'top_k'\?"),
    (lambda: generate(Counter(), PROMPT, 3, logit_bias={"a": 1}), r"a token must be named by its id here, not by its text 'a'\."),
    (
        lambda: generate(Counter(), torch.zeros((1, 0), dtype=torch.int64), 3),
        r"prompt_tokens must be token ids .* at least 1 a row, not \(1, 0\)",
    ),
    (lambda: generate(Counter(), torch.zeros((0, 3), dtype=torch.int64), 3), r"prompt_tokens must be token ids"),
    (lambda: generate(Counter(), torch.tensor([[-1]]), 3), r"prompt_tokens must lie in 0 \.\. V-1, not -1\."),
    (lambda: generate(Counter(float("nan")), PROMPT, 3), r"logits of model at step 0 must be numbers"),
    (
        lambda: generate(lambda ids: row(1, 2), PROMPT, 3),
        r"model must answer token ids \(1, 2\) of torch\.int64 with logits \(B, T, V\), not",
    ),
    (lambda: get_token_probabilities(Counter(float("nan")), PROMPT), r"logits of model must be numbers"),
    (lambda: get_token_probabilities(Counter(), PROMPT[:, :0]), r"prompt_tokens must be"),
    (lambda: get_top_tokens(torch.zeros((2, 3))), r"probs must be numbers of the shape \(V,\) or \(1, V\), not \(2, 3\)"),
    (lambda: get_top_tokens(NAN), r"probs must be numbers"),
    (lambda: get_top_tokens(row(1, 2), -1), r"k must be a whole number at least 0, not -1\."),
    (lambda: measure_diversity(Counter(), PROMPT, 0), r"num_samples must be a whole number at least 1, not 0\."),
    (lambda: create_gpt_tiny(0), r"vocab_size must be a whole number at least 1, not 0\."),
]


@pytest.mark.parametrize(("call", "sentence"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_errors_name_the_argument_and_the_range(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as raised:
        call()
    assert str(raised.value).endswith(".")


def test_every_function_says_what_it_does() -> None:
    for name, function in inspect.getmembers(lesson, inspect.isfunction):
        if function.__module__ == "gencli.lesson" and not name.startswith("_"):
            assert inspect.getdoc(function)
