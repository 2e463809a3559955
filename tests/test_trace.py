"""A trace holds every event, whole lines, in order; and is read back whatever its end looks like."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator

from gencli.errors import RunError, UsageError
from gencli.events import Hashed, dumps, to_dict
from gencli.schema import schema
from gencli.trace import TraceWriter, read_trace
from steps import FINISHED, STARTED, step, story
from streams import abandon


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace.jsonl"


@pytest.fixture
def started(tmp_path):
    """The start of a run with a checkpoint of one small file."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    return replace(STARTED, checkpoint={"name": "toy", "path": str(folder), "bytes": 7})


def test_every_line_is_there_as_soon_as_its_event(path, started):
    trace = TraceWriter(str(path))
    for count, event in enumerate([started, step("a"), step("b", 1)], start=1):
        trace.show(event)
        text = path.read_text()
        assert text.endswith("\n")
        assert len([line for line in text.splitlines() if '"event":"checkpoint"' not in line]) == count
    trace.close()
    trace.close()


def test_the_fingerprint_comes_before_the_finish(path, started):
    trace = TraceWriter(str(path))
    events = [started, step("a"), FINISHED, replace(FINISHED, sample=1)]
    for event in events:
        trace.show(event)
    trace.close()
    read = read_trace(path)
    assert read.broken is None
    assert [event for event in read.events if not isinstance(event, Hashed)] == events
    assert [event.event for event in read.events] in (
        ["start", "token", "checkpoint", "finish", "finish"],
        ["start", "checkpoint", "token", "finish", "finish"],
    )
    validator = Draft202012Validator(schema())
    for line in path.read_text().splitlines():
        validator.validate(json.loads(line))


def test_a_run_without_a_token_has_its_fingerprint_as_well(path, started):
    trace = TraceWriter(str(path))
    trace.show(started)
    trace.show(FINISHED)
    trace.close()
    assert [event.event for event in read_trace(path).events] == ["start", "checkpoint", "finish"]


def test_who_is_interrupted_does_not_wait_for_a_fingerprint(path, started, tmp_path):
    with open(tmp_path / "checkpoint" / "model.safetensors", "wb") as file:
        file.truncate(1 << 34)
    trace = TraceWriter(str(path))
    for event in (started, step("a"), replace(FINISHED, reason="interrupted")):
        trace.show(event)
    trace.close()
    assert [event.event for event in read_trace(path).events] == ["start", "token", "finish"]


def test_a_checkpoint_that_went_away_has_no_fingerprint(path):
    trace = TraceWriter(str(path))
    for event in story(["a"]):
        trace.show(event)
    trace.close()
    assert [event.event for event in read_trace(path).events] == ["start", "token", "finish"]


def test_an_existing_trace_is_overwritten_at_once(path):
    path.write_text("old\n" * 100)
    TraceWriter(str(path)).close()
    assert path.read_text() == ""


def test_a_descriptor_is_written_and_left_open():
    read, write = os.pipe()
    trace = TraceWriter(f"fd:{write}")
    trace.show(FINISHED)
    trace.close()
    os.write(write, b"mine")
    os.close(write)
    line, _, rest = os.read(read, 10000).partition(b"\n")
    os.close(read)
    assert json.loads(line) == to_dict(FINISHED)
    assert rest == b"mine"


def test_a_descriptor_that_is_none():
    read, write = os.pipe()
    os.close(write)
    for target, said in (
        (f"fd:{write}", "not open"),
        (f"fd:{read}", "reading only"),
        ("fd:x", "number"),
        ("fd:", "number"),
        ("fd:" + "9" * 30, "not open"),
    ):
        with pytest.raises(UsageError, match=said):
            TraceWriter(target)
    os.close(read)


def test_a_file_that_cannot_be_opened_is_a_sentence():
    with pytest.raises(RunError, match="no/such/folder/trace"):
        TraceWriter("no/such/folder/trace")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_names_the_trace():
    trace = TraceWriter("/dev/full")
    with pytest.raises(RunError, match="cannot write the trace to /dev/full: no space left on device"):
        trace.show(STARTED)
    trace.show(FINISHED)
    trace.close()


def test_a_reader_that_went_is_a_sentence():
    read, write = os.pipe()
    abandon(read)
    trace = TraceWriter(f"fd:{write}")
    with pytest.raises(RunError, match="broken pipe"):
        trace.show(STARTED)
    trace.close()
    os.close(read)
    os.close(write)


def test_a_disk_that_fills_up_leaves_whole_lines(path):
    import resource
    import signal

    first = len(dumps(to_dict(STARTED))) + 1
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    trace = TraceWriter(str(path))
    resource.setrlimit(resource.RLIMIT_FSIZE, (first + 100, before[1]))
    try:
        trace.show(STARTED)
        with pytest.raises(RunError, match="too large"):
            trace.show(step("a"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    trace.close()
    assert path.read_text() == dumps(to_dict(STARTED)) + "\n"


@pytest.mark.parametrize("end", [b'{"event":"tok', b'{"event":"token","sample":0}', b"\xff\xfe", b'{"event":"finish"}\n', b"[" * 100_000])
def test_a_broken_last_line_is_left_out_and_reported(path, end):
    path.write_bytes(dumps(to_dict(STARTED)).encode() + b"\n" + end)
    trace = read_trace(path)
    assert trace.events == (STARTED,)
    assert "line 2" in trace.broken


def test_a_whole_last_line_without_its_newline_counts(path):
    path.write_text(dumps(to_dict(STARTED)))
    assert read_trace(path).events == (STARTED,)
    assert read_trace(path).broken is None


def test_a_broken_line_in_the_middle_is_an_error(path):
    path.write_text('{"event":\n' + dumps(to_dict(STARTED)) + "\n")
    with pytest.raises(RunError, match="line 1"):
        read_trace(path)


def test_unknown_events_and_fields_are_passed_over(path):
    lines = [{"event": "retract", "sample": 0, "to_step": 3, "reason": "later"}, {**to_dict(FINISHED), "later": 1}]
    path.write_text("".join(dumps(line) + "\n" for line in lines))
    assert read_trace(path).events == (FINISHED,)


def test_another_version_is_refused(path):
    path.write_text(dumps({**to_dict(STARTED), "version": 2}) + "\n")
    with pytest.raises(RunError, match="version 2"):
        read_trace(path)


def test_a_trace_that_cannot_be_read(tmp_path):
    with pytest.raises(RunError, match="cannot read"):
        read_trace(tmp_path / "absent")
