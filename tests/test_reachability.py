"""A change that is named lets the text through, by what would be typed; and no smaller one does."""

from __future__ import annotations

import random
import shlex

import pytest

from gencli.candidates import Candidates
from gencli.generation import vocabulary_of
from gencli.loading import load
from gencli.pipeline import Pipeline
from gencli.preset import Preset, Value
from gencli.registry import find
from gencli.scoring import score, score_given
from gencli.settings import Given, resolve, value_of
from gencli.stages import knobs
from gencli.walking import GivenText, Judge, Walk
from pipelines import random_preset, tiny_session
from proofs import quick

TEXT = (
    "Once upon a time, there was a little girl named Lily. She liked to play in the park with her red elephant, who computed a logarithm."
)


def changed(preset, typed, folder):
    """The preset under what would be typed beside it: flags and --set, read as the command line reads them."""
    (folder / "p.yaml").write_text(preset.dumps(), encoding="utf-8")
    words, flags, sets = shlex.split(" ".join(typed)), {}, []
    for flag, text in zip(words[::2], words[1::2], strict=True):
        if flag == "--set":
            sets.append(Value(text, "flag --set"))
        else:
            stage = flag.removeprefix("--").replace("-", "_")
            flags[stage] = Value(value_of(knobs(find("stages", stage))[0], text, flag), f"flag {flag}")
    return resolve(Given(str(folder / "p.yaml"), flags, sets), {})


def gets_through(session, given, preset):
    """The pipeline over all steps, anew."""
    walk = Walk(session, given)
    judge = Judge(Pipeline(preset.stages()).bind(vocabulary_of(session, preset)), walk)
    for first, logits in walk.parts():
        for row in range(len(logits)):
            raw, token = Candidates(logits[row : row + 1]), given.ids[first + row]
            final = judge.lets_through(raw, token)
            if final is None:
                return False
            judge.go_on(raw, final, token)
    return True


def check_changes(session, given, preset, folder):
    reach = score_given(session, given, preset).reach
    assert reach.reachable == (reach.first is None)
    assert not (reach.changes and reach.together)
    if reach.reachable:
        assert (reach.blocked, reach.changes, reach.together) == (0, (), ())
    for change in reach.changes:
        assert gets_through(session, given, changed(preset, [change.typed], folder)), (preset, change)
    if reach.together:
        assert gets_through(session, given, changed(preset, [change.typed for change in reach.together], folder)), (preset, reach)
    return reach


def check_a_random_preset(seed, folder):
    session, dice = tiny_session(40, context=20, seed=seed % 4), random.Random(seed)
    given = GivenText((1, 2), tuple(dice.randrange(1, 40) for _ in range(dice.randint(1, 12))), 12)
    check_changes(session, given, random_preset(seed, 40, most=3), folder)


@pytest.mark.parametrize("seed", range(10))
def test_the_named_change_lets_the_text_through(seed, tmp_path):
    check_a_random_preset(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 200))
def test_the_named_change_lets_the_text_through_many_presets(seed, tmp_path):
    check_a_random_preset(seed, tmp_path)


@pytest.mark.parametrize("preset", quick(["creative", "code", "chat", "factual", "greedy", "brainstorm"], 2))
def test_the_named_change_lets_real_text_through_a_shipped_preset(preset, tmp_path):
    session = load()
    given = GivenText.of(session, TEXT)
    reach = check_changes(session, given, Preset.load(preset), tmp_path)
    assert not reach.reachable
    assert reach.first.removed_by
    assert reach.first.because
    assert reach.changes or reach.together


def reach_of(session, text, preset, prompt=""):
    return score(session, text, Preset.loads(preset), prompt=prompt).reach


def test_a_whole_number_is_the_smallest_that_works(tmp_path):
    session = load()
    reach = reach_of(session, TEXT, "pipeline: [{top_k: 40}]")
    (change,) = reach.changes
    worst = max(token.rank for token in score(session, TEXT).tokens)
    assert (change.stage, change.old, change.new, change.typed) == ("top_k", 40, worst, f"--top-k {worst}")
    assert reach.first.because == f"rank {reach.first.rank} > 40"


@pytest.mark.parametrize("preset", ["pipeline: [{top_p: 0.8}]", "pipeline: [{min_p: 0.1}]", "pipeline: [{temperature: 0}]"])
def test_a_little_less_of_a_change_does_not_do(preset):
    session, given = load(), GivenText.of(load(), TEXT)
    (change,) = reach_of(session, TEXT, preset).changes
    less = change.old + 0.95 * (change.new - change.old)
    if change.new > 0.5 and change.stage == "top_p":  # what counts there is how far 1 is
        less = 1 - 1.05 * (1 - change.new)
    assert not gets_through(session, given, Preset.loads(f"pipeline: [{{{change.stage}: {less}}}]"))


def test_where_two_stages_block_each_gets_a_change():
    reach = reach_of(load(), TEXT, "pipeline: [{top_k: 40}, {top_p: 0.9}]")
    assert reach.changes == ()
    assert [(change.stage, change.at) for change in reach.together] == [("top_k", 0), ("top_p", 1)]


def test_a_knob_of_another_stage_may_do_it_alone():
    """The penalty is what puts a repeated word below the border."""
    reach = reach_of(
        load(), " the dog and the cat", "pipeline: [{repetition_penalty: 3}, {top_k: 30}]", "Tom saw the dog and the cat. Then"
    )
    assert {change.stage for change in reach.changes} >= {"repetition_penalty", "top_k"}
    assert reach.changes[0].stage == reach.first.removed_by


def test_a_forbidden_token_is_taken_off_the_list_and_no_other():
    session = load()
    reach = reach_of(
        session, " little girl", 'pipeline: [{logit_bias: {" little": -.inf, " big": -.inf, " dog": 1}}]', "Once upon a time, there was a"
    )
    (change,) = reach.changes
    assert [entry[0] for entry in change.new] == [" big", " dog"]
    assert change.typed.startswith("--set 'logit_bias={")


def test_a_token_that_is_named_twice_is_written_as_a_list_that_can_be_typed(tmp_path):
    session, given = tiny_session(40), GivenText((1, 2), (3, 4), 2)
    preset = Preset.loads("pipeline: [{logit_bias: [[3, -.inf], [5, 1], [5, 2]]}]")
    (change,) = check_changes(session, given, preset, tmp_path).changes
    assert change.new == ((5, 1.0), (5, 2.0))


def test_the_second_of_a_name_is_meant():
    reach = reach_of(load(), TEXT, "pipeline: [{top_k: 4000}, {temperature: 1}, {top_k: 40}]")
    assert [shlex.split(change.typed)[1].split("=")[0] for change in reach.changes] == ["top_k#2"]


def test_what_the_model_itself_almost_forbids_no_filter_can_let_through():
    session = tiny_session(6)
    session.model.__class__ = type(
        "Sure", (session.model.__class__,), {"__call__": lambda self, *a, **k: 60 * type(self).__mro__[1].__call__(self, *a, **k)}
    )
    token = score_given(session, GivenText((1, 2), (3, 4, 5), 3), Preset.loads("pipeline: [{top_k: 6}]"))
    assert {each.removed_by for each in token.tokens} <= {None, "draw"}
    assert token.reach.first.removed_by == "draw"
    assert (token.reach.changes, token.reach.together) == ((), ())
