"""Memory: golden noise, its uniformity and independence, the windows that penalties look at, and reweighing."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gencli.candidates import Candidates
from gencli.memory import Memory, reweigh

# a correct generator fails one of these checks with odds of 1e-6 each; the keys are fixed, so they either always pass or never
FALSE_ALARM = 1e-6


def test_golden_noise() -> None:
    """Recorded values: a change here makes every seed draw another text."""
    memory = Memory([1, 2, 3], seed=0, sample=0)
    assert [memory.uniform(), memory.uniform(1), memory.uniform(0, 1)] == [0.8361774771399882, 0.1432403243065915, 0.9844180260936042]
    memory.append(5)
    assert memory.uniform() == 0.24731594798139822
    assert Memory([], 2**63 - 1, 7).uniform() == 0.4083892843758946
    assert Memory([], 42, 3).uniform() == 0.032741059637794834


def test_noise_depends_on_its_key_alone() -> None:
    """Not on what was said, the order of asking, or who is in the batch beside it."""
    one, other = Memory([1, 2], seed=9, sample=4), Memory([7, 7, 7, 7], seed=9, sample=4)
    for step in range(20):
        assert one.uniform() == one.uniform() == other.uniform()
        one.append(step)
        other.append(99 - step)


def test_every_part_of_the_key_counts() -> None:
    def noise(seed: int = 1, sample: int = 1, step: int = 1, purpose: int = 1, index: int = 1) -> float:
        memory = Memory([], seed, sample)
        for _ in range(step):
            memory.append(0)
        return memory.uniform(purpose, index)

    parts = ("seed", "sample", "step", "purpose", "index")
    values = {noise()} | {noise(**{part: other}) for part in parts for other in (0, 2)}
    assert len(values) == 1 + 2 * len(parts)


@pytest.mark.parametrize("vary", ["step", "sample", "seed", "index"])
def test_noise_is_uniform(vary: str) -> None:
    memory, numbers = Memory([], 1), []
    for count in range(20_000):
        if vary == "step":
            memory.append(0)
        elif vary != "index":
            memory = Memory([], **{"seed": 1, vary: count})
        numbers.append(memory.uniform(0, count if vary == "index" else 0))
    assert 0 <= min(numbers) < 0.001
    assert 0.999 < max(numbers) < 1
    assert stats.kstest(numbers, "uniform").pvalue > FALSE_ALARM
    # neighbours are independent: pairs fall evenly on a grid of 10 x 10
    cells = [10 * int(10 * one) + int(10 * other) for one, other in zip(numbers[::2], numbers[1::2], strict=True)]
    assert stats.chisquare([cells.count(cell) for cell in range(100)]).pvalue > FALSE_ALARM


@pytest.mark.parametrize("pair", [("purpose", 0, 1), ("sample", 0, 1), ("seed", 0, 1)])
def test_streams_are_independent(pair: tuple[str, int, int]) -> None:
    name, first, second = pair

    def stream(value: int) -> list[float]:
        memory, numbers = Memory([], **({} if name == "purpose" else {name: value})), []
        for _ in range(5000):
            memory.append(0)
            numbers.append(memory.uniform(value if name == "purpose" else 0))
        return numbers

    assert stats.pearsonr(stream(first), stream(second)).pvalue > FALSE_ALARM


@given(
    st.lists(st.integers(0, 9), max_size=12),
    st.lists(st.integers(0, 9), max_size=12),
    st.integers(0, 30),
    st.sampled_from(["prompt+output", "output"]),
)
def test_seen_is_a_count_of_the_window(prompt: list[int], output: list[int], last: int, scope: str) -> None:
    memory = Memory(prompt)
    for token in output:
        memory.append(token)
    assert memory.ids == prompt + output
    assert memory.step == len(output)
    window = (output if scope == "output" else prompt + output)[-last if last else None :]
    ids, times = memory.seen(last, scope)
    assert ids.tolist() == sorted(set(window))
    assert times.tolist() == [window.count(token) for token in sorted(set(window))]
    memory.append(3)  # a window that is still held does not stop it from growing
    assert memory.ids[-1] == 3


def test_ids_are_a_copy() -> None:
    memory = Memory([1])
    memory.ids.append(2)
    assert memory.ids == [1]


def test_reweigh_touches_only_what_was_seen_and_is_in_play() -> None:
    padded = Candidates(torch.tensor([[1.0, 2.0, 3.0], [4.0, -torch.inf, -torch.inf]]), torch.tensor([[0, 4, 6], [5, 5, 5]]))
    before = padded.logits.clone()
    after = reweigh(padded, [Memory([4, 4, 9]), Memory([5, 0])], 0, "prompt+output", lambda logits, times: logits * 10 + times)
    assert after.logits.tolist() == [[1.0, 22.0, 3.0], [41.0, -torch.inf, -torch.inf]]
    assert torch.equal(padded.logits, before)


def test_a_long_memory_is_cheap_to_look_at() -> None:
    """Against a plain count, for a long text."""
    ids = random.Random(2).choices(range(500), k=20_000)
    found, times = Memory(ids).seen(0, "prompt+output")
    assert dict(zip(found.tolist(), times.tolist(), strict=True)) == {token: ids.count(token) for token in set(ids)}


@given(st.lists(st.tuples(st.integers(0, 9), st.lists(st.tuples(st.integers(0, 2), st.integers()), max_size=3)), max_size=10), st.data())
def test_rewinding_equals_never_having_gone_there(steps: list[tuple[int, list[tuple[int, int]]]], data: st.DataObject) -> None:
    """A step: the token that is appended, and before it what stages note by place."""

    def go(memory: Memory, some: list[tuple[int, list[tuple[int, int]]]]) -> None:
        for token, notes in some:
            for slot, value in notes:
                memory.note(slot, value)
            memory.append(token)

    def state(memory: Memory) -> tuple[object, ...]:
        return memory.ids, memory.step, memory.uniform(), [memory.noted(slot) for slot in range(3)]

    back = data.draw(st.integers(0, len(steps)))
    gone, never = Memory([7, 8], 3), Memory([7, 8], 3)
    go(gone, steps)
    go(never, steps[:back])
    gone.note(0, "of a step that was not finished")
    gone.rewind(back)
    assert state(gone) == state(never)
    for memory in (gone, never):
        go(memory, steps[::-1])
    assert state(gone) == state(never)


def test_a_note_replaces_that_of_the_same_step_and_place() -> None:
    memory = Memory([1])
    assert memory.noted(0) is None
    assert memory.noted(0, 2.5) == 2.5
    memory.note(0, "first")
    memory.note(1, "of another place")
    memory.note(0, "second")
    memory.append(4)
    memory.note(0, "third")
    assert (memory.noted(0), memory.noted(1)) == ("third", "of another place")
    memory.rewind(1)
    assert (memory.noted(0), memory.noted(1)) == ("second", "of another place")
    memory.rewind(0)
    assert (memory.noted(0), memory.noted(1)) == (None, None)


@pytest.mark.parametrize("step", [-1, 3])
def test_rewinding_elsewhere_is_refused(step: int) -> None:
    memory = Memory([1, 2])
    memory.append(3)
    with pytest.raises(ValueError, match=f"step 1 cannot be rewound to step {step}"):
        memory.rewind(step)


def test_a_fork_goes_its_own_way() -> None:
    memory = Memory([1, 2], seed=5, sample=1)
    memory.note(0, "both")
    memory.append(3)
    fork, other = memory.fork(), memory.fork(sample=2)
    assert (fork.ids, fork.step, fork.uniform(), fork.noted(0)) == (memory.ids, 1, memory.uniform(), "both")
    assert other.uniform() != memory.uniform()
    fork.note(0, "mine")
    fork.append(9)
    memory.rewind(0)
    assert (memory.ids, memory.noted(0)) == ([1, 2], None)
    assert (fork.ids, fork.noted(0)) == ([1, 2, 3, 9], "mine")
    assert (other.ids, other.noted(0)) == ([1, 2, 3], "both")


def test_what_is_handed_in_is_of_this_step_and_this_sequence_alone() -> None:
    memory, logits = Memory([1, 2]), torch.zeros(3)
    memory.hand((7,), logits)
    assert memory.handed((7,)) is logits
    assert memory.handed(()) is None
    assert memory.fork().handed((7,)) is None
    memory.append(5)
    assert memory.handed((7,)) is None
    memory.hand((7,), logits)
    memory.rewind(0)
    assert memory.handed((7,)) is None
