"""One test body over every stage on the shelf: what design.md and the shelf's own contract promise of each."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gencli.candidates import Candidates
from gencli.drawing import draw
from gencli.errors import RunError, UsageError
from gencli.memory import Memory
from gencli.registry import find, names
from gencli.stages import Knob, Stage, aliases, build, knobs, spellings
from gencli.vocabulary import Vocabulary

STAGES = names("stages")
ALL_KNOBS = [(name, knob) for name in STAGES for knob in knobs(find("stages", name))]
GONE = -torch.inf
every_stage = pytest.mark.parametrize("name", STAGES)
every_knob = pytest.mark.parametrize(("name", "knob"), ALL_KNOBS, ids=[f"{name}.{knob.name}" for name, knob in ALL_KNOBS])


def values(knob: Knob, size: int) -> st.SearchStrategy[Any]:
    """Values that a knob accepts, for a vocabulary of `size`."""
    if knob.kind == "choice":
        return st.sampled_from(knob.choices)
    if knob.kind == "map":
        bias = st.just(GONE) | st.floats(-5, 5)
        return st.lists(st.tuples(st.integers(0, size + 1), bias), max_size=4)
    if knob.kind == "words":
        return st.lists(st.integers(0, size - 1), max_size=4)
    if knob.kind == "text":
        return st.text(max_size=3)
    if knob.kind == "int":
        return st.integers(int(knob.low or 0), int(knob.high if knob.high is not None else size + 2))
    low = -100.0 if knob.low is None else knob.low
    high = 100.0 if knob.high is None else knob.high
    numbers = st.floats(low, high, exclude_min=knob.open in ("low", "both"), exclude_max=knob.open in ("high", "both"))
    return numbers | numbers.map(lambda number: round(number, 1)).filter(lambda number: low < number < high)


def bound(stage: Any, size: int) -> Stage:
    """The stage as a run uses it, over a vocabulary whose first and fourth tokens end a text."""
    ends = frozenset({0, 3} & set(range(size)))
    vocabulary = Vocabulary(size, [b"x"] * size, ends, frozenset(), lambda text: [])
    # ids outside the vocabulary are an error of bind; here they try the stage itself
    return stage.bind(vocabulary) if hasattr(stage, "bind") and not getattr(stage, "entries", ()) else stage


@st.composite
def stages(pick: st.DrawFn, name: str, size: int) -> Stage:
    kind = find("stages", name)
    first, *others = knobs(kind)
    given_knobs = {first.name: pick(values(first, size))}
    given_knobs |= {knob.name: pick(values(knob, size)) for knob in others if pick(st.booleans())}
    return bound(build(name, kind, given_knobs), size)


def logits_of(size: int) -> st.SearchStrategy[list[float]]:
    """A row of logits: close or far, tied, all equal, with removed tokens; at least one left."""
    spread = st.floats(-40, 40, width=32) | st.sampled_from([-1.0, 0.0, 0.0, 2.5])
    with_gone = st.lists(spread | st.just(GONE), min_size=size, max_size=size).filter(lambda row: max(row) > GONE)
    return with_gone | spread.map(lambda value: [value] * size)


@st.composite
def states(pick: st.DrawFn) -> tuple[Candidates, list[Memory], int]:
    """Candidates of 1 to 3 rows, whole or shrunk before (then padded), their memories, and the vocabulary's size."""
    size, rows = pick(st.integers(1, 24)), pick(st.integers(1, 3))
    dtype = pick(st.sampled_from([torch.float32, torch.float64]))
    candidates = Candidates(torch.tensor([pick(logits_of(size)) for _ in range(rows)], dtype=dtype))
    if pick(st.booleans()):
        chosen = [pick(st.lists(st.integers(0, size - 1), min_size=1, unique=True)) for _ in range(rows)]
        shrunk = candidates.select([torch.tensor(sorted(each)) for each in chosen])
        candidates = shrunk if bool((shrunk.peak > GONE).all()) else candidates
    ids = st.lists(st.integers(0, size - 1), min_size=1, max_size=8)
    memories = [Memory(pick(ids), seed=pick(st.integers(0, 9)), sample=row) for row in range(rows)]
    for memory in memories:
        for token in pick(st.lists(st.integers(0, size - 1), max_size=4)):
            memory.append(token)
        memory.hand((), torch.tensor(pick(logits_of(size))))  # what a stage may need beside the candidates
    return candidates, memories, size


def alive(candidates: Candidates, row: int) -> dict[int, float]:
    """The tokens of a row that are in play, with their logits; checks that they stand in ascending id."""
    pairs = zip(candidates.token_ids()[row].tolist(), candidates.logits[row].tolist(), strict=True)
    left = [(token, logit) for token, logit in pairs if logit > GONE]
    assert all(one < other for (one, _), (other, _) in pairwise(left))
    return dict(left)


def cut(candidates: Candidates, row: int) -> Candidates:
    """One row by itself."""
    ids = None if candidates.ids is None else candidates.ids[row : row + 1]
    return Candidates(candidates.logits[row : row + 1].clone(), ids)


def check_contract(name: str, data: st.DataObject) -> None:
    candidates, memories, size = data.draw(states())
    stage = data.draw(stages(name, size))
    logits, ids = candidates.logits.clone(), None if candidates.ids is None else candidates.ids.clone()
    remembered = [(memory.ids, memory.step) for memory in memories]

    after = stage(candidates, memories)

    assert torch.equal(candidates.logits, logits)
    assert ids is None or torch.equal(candidates.ids, ids)
    assert [(memory.ids, memory.step) for memory in memories] == remembered
    assert after.rows == candidates.rows
    assert after.width <= candidates.width
    assert after.logits.shape == after.token_ids().shape
    assert after.logits.dtype == logits.dtype
    assert not bool(after.logits.isnan().any())
    for row in range(after.rows):
        left = alive(after, row)
        assert left
        assert left.keys() <= alive(candidates, row).keys()
        assert max(left.values()) < torch.inf
        assert alive(stage(cut(candidates, row), [memories[row]]), 0) == left
    assert bool((after.kept() >= 1).all())


@every_stage
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_contract(name: str, data: st.DataObject) -> None:
    check_contract(name, data)


@pytest.mark.slow
@every_stage
@settings(deadline=None, max_examples=400)
@given(data=st.data())
def test_contract_many_times(name: str, data: st.DataObject) -> None:
    check_contract(name, data)


@every_knob
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_neutral_changes_nothing(name: str, knob: Knob, data: st.DataObject) -> None:
    if knob.neutral is None:
        return
    candidates, memories, size = data.draw(states())
    stage = replace(data.draw(stages(name, size)), **{knob.name: knob.neutral})
    after = stage(candidates, memories)
    assert torch.equal(after.logits, candidates.logits)
    assert torch.equal(after.token_ids(), candidates.token_ids())


@every_stage
def test_first_knob_alone_is_neutral_by_default(name: str) -> None:
    first = knobs(find("stages", name))[0]
    assert first.neutral is not None
    assert getattr(find("stages", name)(), first.name) == first.neutral == first.default


def wrong_values(knob: Knob) -> list[Any]:
    """Values that a knob must refuse."""
    if knob.kind == "map":
        return [None, 3, "text", [1], {1: "a"}, {1: float("nan")}, {True: 1.0}, {-1: 1.0}, {1: float("inf")}, {1: 1e300}]
    if knob.kind == "words":
        return [None, "", -1, True, 0.5, object(), {"a": 1}, [None], ["a", ""], [-1], [True], [0.5], [["a"]], [[]]]
    wrong: list[Any] = [None, [], object()]
    wrong += [3, 0.5, True, b"text"] if knob.kind == "text" else []
    if knob.kind in ("float", "int"):
        wrong += ["1", True, float("nan"), float("inf"), -float("inf"), 10**400]
        wrong += [] if knob.low is None else [knob.low - 1] + [knob.low] * (knob.open in ("low", "both"))
        wrong += [] if knob.high is None else [knob.high + 1] + [knob.high] * (knob.open in ("high", "both"))
    wrong += [0.5] if knob.kind == "int" else []
    return wrong + (["nonsense"] if knob.kind == "choice" else [])


# an int has no upper limit but a float's: a larger one is as good as that
@every_knob
def test_out_of_range_is_a_sentence(name: str, knob: Knob) -> None:
    kind = find("stages", name)
    label = name if knob == knobs(kind)[0] else f"{name}.{knob.name}"
    for wrong in wrong_values(knob):
        if knob.kind == "int" and isinstance(wrong, int) and not isinstance(wrong, bool) and wrong > 0:
            continue
        with pytest.raises(UsageError) as raised:
            build(name, kind, {knob.name: wrong})
        sentence = str(raised.value)
        assert label in sentence
        assert sentence.endswith(".")
        assert any(part in sentence for part in (knob.range(), "Choices: ", "must be -inf or in ["))


@every_stage
def test_unknown_knob_names_the_choices(name: str) -> None:
    with pytest.raises(UsageError, match=rf"there is no knob of {name} 'nonsense'.*Choices: "):
        build(name, find("stages", name), {"nonsense": 1})


@every_stage
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")], ids=str)
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_what_is_no_number_reaches_the_draw(name: str, bad: float, data: st.DataObject) -> None:
    """A stage passes on what no stage can mend, and the draw tells it with its step."""
    size = data.draw(st.integers(1, 12))
    stage = data.draw(stages(name, size))
    memory = Memory([0])
    memory.hand((), torch.zeros(size))
    after = stage(Candidates(torch.full((1, size), bad)), [memory])
    with pytest.raises(RunError, match="step 7"):
        draw(after, [0.5], step=7)


@every_stage
def test_says_where_it_stands_and_comes_from(name: str) -> None:
    kind = find("stages", name)
    assert isinstance(kind(), Stage)
    assert kind.source
    assert isinstance(kind.place, int | float)
    assert [other for other in STAGES if find("stages", other).place == kind.place] == [name]
    for knob in knobs(kind):
        assert knob.help.endswith(".")
        assert knob.check(knob.default, knob.name) == knob.default
        if knob.neutral is not None:
            assert knob.check(knob.neutral, knob.name) == knob.neutral


@every_stage
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_says_why_it_removed_a_token(name: str, data: st.DataObject) -> None:
    candidates, memories, size = data.draw(states())
    stage = data.draw(stages(name, size))
    after = stage(candidates, memories)
    for row in range(candidates.rows):
        gone = alive(candidates, row).keys() - alive(after, row).keys()
        for token in sorted(gone)[:3]:
            because = stage.because(candidates, row, token)  # a stage that removes says why
            assert because
            assert "\n" not in because


def test_every_spelling_means_one_stage() -> None:
    spelt = [word for name in STAGES for word in (name, *aliases(name))]
    assert len(spelt) == len(set(spelt)) == len(spellings())
    assert all(spellings()[word] == name for name in STAGES for word in (name, *aliases(name)))
