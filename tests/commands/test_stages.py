"""`gencli stages`: every stage is in the table with all it says of itself."""

from __future__ import annotations

import json

import pytest

from gencli.commands.stages import as_text, stages
from gencli.errors import UsageError
from gencli.registry import find, names
from gencli.stages import knobs


@pytest.fixture
def run(capfd):
    def go(*args):
        stages.main(list(args), prog_name="gencli stages", standalone_mode=False)
        return capfd.readouterr().out

    return go


def test_the_table_has_a_row_for_every_knob_in_standard_order(run):
    header, *rows = run().splitlines()
    assert header.split() == ["place", "stage", "knob", "default", "neutral", "range", "also", "source"]
    wanted = [(find("stages", name).place, name, knob.name) for name in names("stages") for knob in knobs(find("stages", name))]
    assert len(rows) == len(wanted)
    assert [(row.split()[1], row.split()[2]) for row in rows] == [
        (name, knob) for _, name, knob in sorted(wanted, key=lambda each: each[0])
    ]
    for row, (_, name, knob) in zip(rows, sorted(wanted, key=lambda each: each[0]), strict=True):
        stage = find("stages", name)
        assert row.startswith(f"{stage.place:g} ")
        assert row.endswith(stage.source)
        assert next(each for each in knobs(stage) if each.name == knob).range() in row


def test_json_holds_the_same(run):
    found = json.loads(run("--format", "json"))
    assert sorted(each["stage"] for each in found) == list(names("stages"))
    top_p = next(each for each in found if each["stage"] == "top_p")
    assert (top_p["flag"], top_p["place"]) == ("--top-p", 70)
    (p,) = top_p["knobs"]
    assert (p["name"], p["default"], p["neutral"], p["low"], p["high"], p["open"], p["range"]) == (
        "p",
        1.0,
        1.0,
        0.0,
        1.0,
        "low",
        "in (0, 1]",
    )
    assert all(each["does"] and each["source"] for each in found)


def test_stages_can_be_named(run):
    assert [row.split()[1] for row in run("top_p", "top_k").splitlines()[1:]] == ["top_k", "top_p"]
    with pytest.raises(UsageError, match=r"there is no stage 'topp'. Did you mean 'top_p'"):
        run("topp")


def test_an_alias_names_its_stage(run):
    (row,) = run("repeat_penalty").splitlines()[1:2]
    assert row.split()[1] == "repetition_penalty"
    (found,) = json.loads(run("repeat_penalty", "repetition_penalty", "--format", "json"))
    assert found["also"] == ["repeat_penalty"]
    assert "Also called: repeat_penalty." in as_text([found], 80)


def test_a_narrow_terminal_gets_paragraphs(run):
    found = json.loads(run("--format", "json"))
    assert as_text(found, None) == as_text(found, 400)
    text = as_text(found, 80)
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    for each in found:
        assert f"{each['stage']} (place {each['place']:g}, {each['flag']})" in words
        assert each["source"] in words
        assert all(knob["help"] in words and knob["range"] in words for knob in each["knobs"])
