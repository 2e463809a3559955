"""The published shape: every event validates, and comes back as it was."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from gencli.events import EVENTS, Candidate, Hashed, Logits, StageReport, Token, dumps, to_dict, to_json, without_logits
from gencli.schema import event_from, report_schema, run_schema, schema
from gencli.variety import Estimate, Variety
from steps import FINISHED, STARTED, step, story

VALIDATOR = Draft202012Validator(schema())
HASHED = Hashed("0" * 64, {"model.safetensors": "1" * 64})
BARE = Token(0, 0, 5, "", b"\xff\x00")
RECORDED = replace(step("x"), logits=Logits(200, b"\1\0\0\0", b"\0\0\x80?", b"", 2.5, 0.5))


def test_the_schemas_are_schemas():
    Draft202012Validator.check_schema(schema())
    Draft202012Validator.check_schema(run_schema())
    assert json.loads(json.dumps(schema())) == schema()


@pytest.mark.parametrize(
    "event",
    [STARTED, HASHED, BARE, RECORDED, step("x", kept=3), FINISHED, replace(FINISHED, tokens_per_second=None, stop="\n")],
    ids=lambda event: event.event,
)
def test_an_event_validates_and_comes_back(event):
    values = json.loads(to_json(event))
    VALIDATOR.validate(values)
    assert event_from(values) == event


def test_it_names_every_field_of_every_event():
    for kind in (*EVENTS, Candidate, StageReport, Logits):
        name = getattr(kind, "event", kind.__name__)
        properties = schema()["$defs"][name]["properties"]
        assert set(properties) - {"event"} == {field.name for field in fields(kind)}
        assert schema()["$defs"][name]["description"]


@pytest.mark.parametrize(
    "change",
    [
        {"event": "tokens"},
        {"id": "5"},
        {"id": 1.5},
        {"bytes": 5},
        {"text": None},
        {"candidates": [{"id": 1}]},
        {"logprob": "-1"},
        {"sample": True},
        {"logits": {"size": 1}},
        {"logits": {**to_dict(RECORDED)["logits"], "raw": 5}},
    ],
)
def test_what_does_not_fit_is_refused(change):
    values = {**to_dict(step("x")), **change}
    with pytest.raises(ValidationError):
        VALIDATOR.validate(values)
    if change.get("event"):
        assert event_from(values) is None
    else:
        with pytest.raises((TypeError, ValueError, KeyError)):
            event_from(values)


@pytest.mark.parametrize("number", [10**400, float("nan"), float("inf")])
def test_what_is_no_number_is_refused(number):
    with pytest.raises(ValueError, match="number"):
        event_from({**to_dict(BARE), "logprob": number})


def test_a_map_holds_what_it_says():
    with pytest.raises(TypeError):
        event_from({**to_dict(HASHED), "files": {"a": 5}})


def test_logits_are_in_a_trace_only():
    assert "logits" not in to_dict(BARE)
    assert to_dict(without_logits(RECORDED)) == to_dict(step("x"))
    assert without_logits(STARTED) is STARTED
    assert json.loads(to_json(RECORDED)) == to_dict(RECORDED)


def test_a_missing_field_is_refused_and_an_unknown_one_passed_over():
    values = to_dict(FINISHED)
    del values["reason"]
    with pytest.raises(ValidationError):
        VALIDATOR.validate(values)
    with pytest.raises(KeyError, match="reason"):
        event_from(values)
    more = {**to_dict(FINISHED), "something": "new"}
    VALIDATOR.validate(more)
    assert event_from(more) == FINISHED


def test_a_reason_is_one_of_those_that_are_named():
    with pytest.raises(ValidationError):
        VALIDATOR.validate({**to_dict(FINISHED), "reason": "boredom"})


def test_a_whole_run_validates():
    start, *rest = story(["a", "b"])
    sample = {"text": "ab", "ids": [0, 1], "finish": to_dict(rest[-1]), "tokens": [to_dict(event) for event in rest[:-1]]}
    validator = Draft202012Validator(run_schema())
    validator.validate({"start": to_dict(start), "samples": [sample, {"text": "", "ids": [], "finish": None}]})
    with pytest.raises(ValidationError):
        validator.validate({"start": to_dict(start), "samples": [{"text": ""}]})


@given(st.text(st.characters(codec=None)))
def test_json_holds_nothing_that_a_terminal_obeys(text):
    line = dumps({"text": text, text: 1})
    assert not [c for c in line if c < " " or "\x7f" <= c <= "\x9f"]
    assert json.loads(line) == {"text": text, text: 1}
    line.encode()


@given(st.text(), st.binary(), st.floats(allow_nan=False, allow_infinity=False) | st.none())
def test_any_token_comes_back(text, data, logprob):
    token = Token(3, 4, 5, text, data, logprob=logprob)
    assert event_from(json.loads(to_json(token))) == token


def test_the_schema_of_a_report_refuses_what_is_none():
    figures = Variety(2, 9, Estimate(0.5, 0.1, 0.9), (Estimate(0.5), None), Estimate(0.0), None, {"length": 2})
    whole, told = report_schema(Variety, "variety"), json.loads(json.dumps(asdict(figures)))
    Draft202012Validator.check_schema(whole)
    Draft202012Validator(whole).validate(told)
    for wrong in ({**told, "samples": "2"}, {**told, "unique": {"value": None}}, {**told, "endings": {"length": "2"}}, {"samples": 2}):
        with pytest.raises(ValidationError):
            Draft202012Validator(whole).validate(wrong)
