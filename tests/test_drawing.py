"""The draw: chi-square against the exact distribution, for the raw model and after every stage; edges; damage."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gencli.candidates import Candidates
from gencli.drawing import draw
from gencli.errors import RunError
from gencli.memory import Memory
from gencli.registry import find
from gencli.stages import build

# A correct draw fails one of these chi-square tests with odds of 1e-6 each (15 tests: 1.5e-5 in all). The seeds are fixed,
# so a test that passes once passes always.
FALSE_ALARM = 1e-6
DRAWS = 20_000
LAST = math.nextafter(1, 0)  # the largest number a draw can be handed

LOGITS = [2.0, 1.0, 1.0, 0.5, 0.0, -0.5, -1.0, -1.0, -2.0, -3.0, -torch.inf, -3.5]
SETTINGS = [
    ("frequency_penalty", {"penalty": 0.4}),
    ("presence_penalty", {"penalty": 0.7}),
    ("repetition_penalty", {"penalty": 1.5}),
    ("logit_bias", {"entries": {1: -2.0, 5: 1.5, 0: -math.inf}}),
    ("temperature", {"temperature": 0.8}),
    ("temperature", {"temperature": 1.7}),
    ("top_k", {"k": 5}),
    ("top_p", {"p": 0.8}),
    ("min_p", {"p": 0.1}),
    ("min_new_tokens", {"tokens": 3}),
]


def expected(name: str, knobs: dict) -> list[float]:
    """The exact distribution after a stage, computed here from its definition, one token at a time."""
    logits = list(LOGITS)
    seen = {0: 2, 3: 1, 8: 1}
    order = sorted(range(len(logits)), key=lambda token: (-logits[token], token))
    if name == "frequency_penalty":
        logits = [logit - knobs["penalty"] * seen.get(token, 0) for token, logit in enumerate(logits)]
    elif name == "presence_penalty":
        logits = [logit - knobs["penalty"] * (token in seen) for token, logit in enumerate(logits)]
    elif name == "repetition_penalty":
        for token in seen:
            logits[token] *= knobs["penalty"] if logits[token] < 0 else 1 / knobs["penalty"]
    elif name == "logit_bias":
        logits = [logit + knobs["entries"].get(token, 0.0) for token, logit in enumerate(logits)]
    elif name == "temperature":
        logits = [logit / knobs["temperature"] for logit in logits]
    weights = [math.exp(logit) for logit in logits]
    if name == "top_k":
        weights = [weight * (token in order[: knobs["k"]]) for token, weight in enumerate(weights)]
    elif name == "top_p":
        sums, total = 0.0, sum(weights)
        for token in order:
            weights[token], sums = weights[token] * (sums < knobs["p"] * total), sums + weights[token]
    elif name == "min_p":
        weights = [weight * (weight >= knobs["p"] * max(weights)) for weight in weights]
    return [weight / sum(weights) for weight in weights]


def check(counts: list[int], probabilities: list[float]) -> None:
    """Chi-square over the tokens that can come; one that cannot must not."""
    pairs = [(count, DRAWS * probability) for count, probability in zip(counts, probabilities, strict=True) if probability > 0]
    assert sum(count for count, _ in pairs) == DRAWS
    observed, wanted = [count for count, _ in pairs], [expectation for _, expectation in pairs]
    assert min(wanted) > 5
    assert len(pairs) == 1 or stats.chisquare(observed, wanted).pvalue > FALSE_ALARM


def drawn(candidates: Candidates, seed: int) -> list[int]:
    """How often each token comes, over many samples of one step."""
    whole = Candidates(candidates.logits.expand(DRAWS, -1), None if candidates.ids is None else candidates.ids.expand(DRAWS, -1))
    tokens = draw(whole, [Memory([0], seed, sample).uniform() for sample in range(DRAWS)])
    return torch.tensor(tokens).bincount(minlength=len(LOGITS)).tolist()


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_raw_draws_follow_the_model(seed: int) -> None:
    check(drawn(Candidates(torch.tensor([LOGITS])), seed), expected("", {}))


@pytest.mark.parametrize(("name", "knobs"), SETTINGS, ids=[name for name, _ in SETTINGS])
def test_draws_follow_every_stage(name: str, knobs: dict) -> None:
    memory = Memory([0, 3, 0, 8])
    after = build(name, find("stages", name), knobs)(Candidates(torch.tensor([LOGITS])), [memory])
    check(drawn(after, 5), expected(name, knobs))


@pytest.mark.parametrize("vary", ["steps", "seeds"])
def test_draws_along_steps_and_seeds(vary: str) -> None:
    """The distribution is as exact along one sample's steps, and over seeds, as it is over samples."""
    memory, numbers = Memory([0], 3), []
    for count in range(DRAWS):
        memory = Memory([0], count) if vary == "seeds" else memory
        numbers.append(memory.uniform())
        memory.append(0)
    tokens = draw(Candidates(torch.tensor([LOGITS]).expand(DRAWS, -1)), numbers)
    check(torch.tensor(tokens).bincount(minlength=len(LOGITS)).tolist(), expected("", {}))


def test_ascending_ids_share_the_unit_interval() -> None:
    """The draw is the inverse of the cumulative sum: of three equal tokens the thirds, in order of id."""
    candidates = Candidates(torch.zeros((6, 3)))
    assert draw(candidates, [0.0, 0.333, 0.334, 0.666, 0.667, LAST]) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ends_of_the_unit_interval_meet_survivors(dtype: torch.dtype) -> None:
    gone = -torch.inf
    rows = [[gone, 1.0, 0.0, gone], [gone, gone, 0.0, gone], [0.0, -80.0, gone, gone], [gone, -700.0, 0.0, gone]]
    low, high = ([draw(Candidates(torch.tensor([row], dtype=dtype)), [end])[0] for row in rows] for end in (0.0, LAST))
    assert low[:3] == [1, 2, 0]
    assert low[3] == (2 if dtype is torch.float32 else 1)  # what float32 cannot tell from nothing is nothing
    assert high == [2, 2, 0, 2]


@given(st.lists(st.floats(-30, 0), min_size=1, max_size=40))
def test_the_largest_number_meets_the_last_survivor_however_it_rounds(row: list[float]) -> None:
    logits = torch.tensor([[*row, 0.0, -torch.inf]], dtype=torch.float64)
    assert draw(Candidates(logits), [LAST]) == [len(row)]


def test_padding_is_never_drawn() -> None:
    padded = Candidates(torch.tensor([[0.0, 0.0], [1.0, -torch.inf]]), torch.tensor([[3, 8], [5, 5]]))
    assert draw(padded, [LAST, LAST]) == [8, 5]
    assert draw(padded, [0.0, 0.0]) == [3, 5]


@settings(deadline=None)
@given(
    st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=30).flatmap(
        lambda row: st.tuples(st.just(row), st.lists(st.integers(0, len(row) - 1), min_size=1, unique=True))
    ),
    st.floats(0, 1, exclude_max=True),
)
def test_same_token_whatever_form_the_survivors_have(case: tuple[list[float], list[int]], number: float) -> None:
    """Struck out in place, closed up, or padded beside a longer row: the same survivors give the same token."""
    row, left = case
    columns = torch.tensor(sorted(left))
    whole = Candidates(torch.tensor([row]))
    struck = Candidates(torch.full((1, len(row)), -torch.inf).index_copy_(1, columns, whole.logits[:, columns]))
    closed = whole.select([columns])
    both = Candidates(whole.logits.expand(2, -1)).select([columns, torch.arange(len(row))])
    results = {draw(struck, [number])[0], draw(closed, [number])[0], draw(both, [number, 0.5])[0]}
    assert len(results) == 1 or near_a_boundary(closed, number)
    assert results <= set(left)


def near_a_boundary(candidates: Candidates, number: float) -> bool:
    sums = candidates.probs()[0].cumsum(0)
    return bool(((sums - number).abs() < 1e-12).any())


def test_a_row_draws_alone_what_it_draws_in_a_batch() -> None:
    logits = torch.randn((8, 300), generator=torch.Generator().manual_seed(1))
    numbers = [Memory([], 4, sample).uniform() for sample in range(8)]
    alone = [draw(Candidates(logits[row : row + 1]), [numbers[row]])[0] for row in range(8)]
    assert draw(Candidates(logits), numbers) == alone


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([0.0, math.nan], "the logits at step 12 are not numbers (NaN)"),
        ([math.nan, math.nan], "the logits at step 12 are not numbers (NaN)"),
        ([0.0, math.inf], "the logits at step 12 are infinite"),
        ([-math.inf, -math.inf], "nothing is left in play"),
    ],
)
def test_damage_is_told_with_its_step(row: list[float], said: str) -> None:
    good = [0.0, 0.0]
    for rows in ([row], [good, row]):
        with pytest.raises(RunError) as raised:
            draw(Candidates(torch.tensor(rows)), [0.5] * len(rows), step=12)
        assert said in str(raised.value)
        assert str(raised.value).endswith(".")
