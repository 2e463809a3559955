"""DRY: llama.cpp's numbers, breakers of one and of several tokens, and a slow search as the reference."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch import Tensor

from gencli.candidates import Candidates
from gencli.errors import UsageError
from gencli.memory import Memory
from gencli.stages import dry
from gencli.stages.dry import Dry
from gencli.vocabulary import Vocabulary
from references import agrees


@pytest.mark.parametrize(
    ("size", "ids", "stage", "expected"),
    [
        (4, [0, 1], Dry(1.0, 1.1, 2, 4, ()), [0.25] * 4),
        (4, [0, 1, 2, 0, 1], Dry(1.0, 1.1, 2, 5, ()), [0.296923, 0.296923, 0.109232, 0.296923]),
        (5, [0, 1, 3, 4, 0, 1], Dry(1.0, 1.1, 2, 6, (3,)), [0.2] * 5),
        (5, [0, 1, 2, 0, 1], Dry(2.0, 1.1, 2, 5, ()), [0.241818, 0.241818, 0.032727, 0.241818, 0.241818]),
        (5, [0, 1, 2, 3, 4, 0, 1], Dry(1.0, 1.1, 4, 7, ()), [0.2] * 5),
    ],
)
def test_numbers_of_llama_cpp(size: int, ids: list[int], stage: Dry, expected: list[float]) -> None:
    assert stage(Candidates(torch.zeros((1, size))), [Memory(ids)]).probs()[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_the_penalty_grows_with_the_repetition() -> None:
    assert Dry(0.8, 1.75).penalties(Memory([5, 6, 7, 8, 9, 5, 6])) == {7: pytest.approx(0.8)}
    assert Dry(0.8, 1.75).penalties(Memory([5, 6, 7, 8, 9, 5, 6, 7])) == {8: pytest.approx(0.8 * 1.75)}
    assert Dry(0.8, 1.75).penalties(Memory([5, 6, 7, 8, 9, 5, 6, 7, 8])) == {9: 0.8 * 1.75**2}


def test_of_several_runs_the_longest_counts() -> None:
    """3 followed 1 2 and 7 1 2; 4 followed 1 2 alone."""
    assert Dry(1.0, 2.0).penalties(Memory([1, 2, 3, 7, 1, 2, 3, 1, 2, 4, 7, 1, 2])) == {3: 2.0, 4: 1.0}


@pytest.mark.parametrize(("last", "found"), [(0, {2: 1.0}), (5, {2: 1.0}), (4, {}), (2, {})])
def test_searches_the_latest_only(last: int, found: dict[int, float]) -> None:
    assert Dry(1.0, 2.0, 2, last).penalties(Memory([0, 1, 2, 0, 1])) == found


def test_no_repetition_reaches_across_a_breaker() -> None:
    text = [0, 1, 9, 2, 3, 0, 1, 9, 2]
    assert Dry(1.0, 2.0, 2, 0, ()).penalties(Memory(text)) == {3: 4.0}
    assert Dry(1.0, 2.0, 2, 0, (9,)).penalties(Memory(text)) == {}
    assert Dry(1.0, 2.0, 1, 0, (9,)).penalties(Memory(text)) == {3: 1.0}
    assert Dry(1.0, 2.0, 1, 0, ((1, 9),)).penalties(Memory(text)) == {3: 1.0}
    assert Dry(1.0, 2.0, 1, 0, ((0, 9),)).penalties(Memory(text)) == {3: 8.0}  # stands nowhere


def test_breakers_become_the_tokens_that_hold_them() -> None:
    texts = [b"a", b"\n", b".\n", b"b\n\nc", b"x", b"END", b"aEN", b"D"]
    vocabulary = Vocabulary(
        len(texts), texts, frozenset(), frozenset(), lambda text: [texts.index(text.encode())] if text.encode() in texts else []
    )
    assert Dry(1.0, breakers=("\n",)).bind(vocabulary).breakers == (1, 2, 3)
    assert Dry(1.0, breakers=("END", 4)).bind(vocabulary).breakers == (4, 5, (6, 7))
    bound = Dry(1.0, breakers=("\n", (4, 0))).bind(vocabulary)
    assert bound.bind(vocabulary) == bound
    with pytest.raises(UsageError, match=r"dry\.breakers: token id 8 is outside the vocabulary \(0 to 7\)\."):
        Dry(1.0, breakers=(8,)).bind(vocabulary)


def since_a_breaker(ids: list[int], breakers: tuple[int | tuple[int, ...], ...]) -> int:
    runs = [(each,) if isinstance(each, int) else each for each in breakers]
    ends = [at + len(run) for run in runs for at in range(len(ids) - len(run) + 1) if tuple(ids[at : at + len(run)]) == run]
    return len(ids) - max(ends, default=0)


def slowly(stage: Dry, row: Tensor, memory: Memory) -> Tensor:
    """Every earlier place, and how many tokens before it are the last ones."""
    ids = memory.ids[-stage.last :] if stage.last else memory.ids
    limit, best = since_a_breaker(ids, stage.breakers), {}
    for end in range(len(ids) - 1):
        length = 0
        while length < min(limit, end + 1) and ids[end - length] == ids[-1 - length]:
            length += 1
        if length >= stage.allowed_length and ids[end + 1] not in stage.breakers:
            best[ids[end + 1]] = max(length, best.get(ids[end + 1], 0))
    for token, length in best.items():
        row[0, token] -= stage.multiplier * stage.base ** (length - stage.allowed_length)
    return row


def test_agrees_with_a_slow_search() -> None:
    stages = [Dry(0.8, 1.75, 2, 0, ()), Dry(1.0, 1.3, 1, 20, (3,)), Dry(2.0, 1.1, 3, 0, ((1, 2), 0)), Dry(0.5, 1.0, 1, 0, (4,))]
    agrees(stages, slowly)


def test_long_texts_and_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop's repetition is as long as the text: from some length on it costs no more."""
    noise = random.Random(1)
    text = [noise.randrange(4) for _ in range(3000)]
    row = torch.zeros((1, 4), dtype=torch.float64)
    assert torch.allclose(
        Dry(0.8, 1.2, 2, 0, ())(Candidates(row), [Memory(text)]).logits, slowly(Dry(0.8, 1.2, 2, 0, ()), row.clone(), Memory(text))
    )
    assert Dry(1.0, 1.75).penalties(Memory([7] * 5000))[7] == pytest.approx(1.75**124)
    assert Dry(1.0, 1.01, 2).penalties(Memory([7] * 5000)) == {7: pytest.approx(1.01**dry.LONGEST)}
    assert Dry(3.0, 1.0, 2).penalties(Memory([7, 8] * 5000)) == {7: 3.0}
    assert all(math.isfinite(each) for each in Dry(100.0, 100.0).penalties(Memory([7] * 5000)).values())
