"""JSON lines: every event, at once, valid."""

from __future__ import annotations

import json

from jsonschema import Draft202012Validator

from gencli.events import to_dict
from gencli.renderers.jsonl import Jsonl
from gencli.schema import schema
from gencli.terminal import Output
from steps import story


def test_one_event_a_line_as_they_happen(tmp_path):
    path = tmp_path / "events.jsonl"
    output = Output(path)
    renderer, validator = Jsonl(output), Draft202012Validator(schema())
    events = list(story(["Once", "\x9b日\n", "\ud800"], samples=2))
    for count, event in enumerate(events, start=1):
        renderer.show(event)
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) == count
        validator.validate(json.loads(lines[-1]))
        assert json.loads(lines[-1]) == to_dict(event)
    renderer.close()
    output.close()
