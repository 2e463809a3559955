"""JSON: one valid object for the whole run, whatever its end was."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator

from gencli.events import to_dict
from gencli.renderers.json import Json
from gencli.schema import run_schema
from gencli.terminal import Output
from steps import STARTED, step, story
from streams import terminal

VALIDATOR = Draft202012Validator(run_schema())


@pytest.fixture
def written(tmp_path):
    def show(events, **options):
        output = Output(tmp_path / "out.json")
        renderer = Json(output, **options)
        for event in events:
            renderer.show(event)
            assert (tmp_path / "out.json").read_text() == ""
        renderer.close()
        renderer.close()
        output.close()
        return (tmp_path / "out.json").read_text(encoding="utf-8")

    return show


def test_one_object(written):
    text = written(story(["Once", " 日本\n"]))
    whole = json.loads(text)
    VALIDATOR.validate(whole)
    assert text.count("\n") == 1
    assert "日本" in text
    assert whole["start"] == to_dict(STARTED)
    (sample,) = whole["samples"]
    assert (sample["text"], sample["ids"], sample["finish"]["reason"]) == ("Once 日本\n", [0, 1], "length")
    assert set(sample) == {"text", "ids", "finish"}


def test_token_events_where_they_are_asked_for(written):
    whole = json.loads(written(story(["a", "b"]), tokens=True))
    VALIDATOR.validate(whole)
    assert [token["text"] for token in whole["samples"][0]["tokens"]] == ["a", "b"]
    assert len(whole["samples"][0]["tokens"][0]["candidates"]) == 10


def test_samples_in_order(written):
    events = [replace(STARTED, samples=2, first_sample=5), step("x", sample=6), step("a", sample=5), step("b", 1, sample=5)]
    assert [sample["text"] for sample in json.loads(written(events))["samples"]] == ["ab", "x"]


def test_after_a_failure_the_object_is_whole(written):
    whole = json.loads(written([STARTED, step("half")]))
    VALIDATOR.validate(whole)
    assert (whole["samples"][0]["text"], whole["samples"][0]["finish"]) == ("half", None)
    assert written([]) == ""


def test_a_terminal_gets_no_control_character():
    with terminal(1) as screen:
        renderer = Json(Output())
        for event in story(["\x1b[2J\x9b\x7f\x85"]):
            renderer.show(event)
        renderer.close()
        text = screen.read()
    assert json.loads(text)["samples"][0]["text"] == "\x1b[2J\x9b\x7f\x85"
    assert not [c for c in text if (c < " " and c != "\n") or "\x7f" <= c <= "\x9f"]
