"""A trace holds every event, whole lines, in order; and is read back whatever its end looks like."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gencli.errors import RunError, UsageError
from gencli.events import Hashed, Retracted, dumps, to_dict, to_json
from gencli.generation import Options, run
from gencli.loading import load
from gencli.observation import Detail
from gencli.preset import Preset
from gencli.schema import schema
from gencli.trace import TraceWriter, begun, read_trace, trace_events
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
    back = Retracted(0, 3, "why")
    lines = [{"event": "of a later version", "sample": 0, "to_step": 3}, {**to_dict(back), "later": 1}, {**to_dict(FINISHED), "later": 1}]
    path.write_text("".join(dumps(line) + "\n" for line in lines))
    assert read_trace(path).events == (back, FINISHED)


def test_another_version_is_refused(path):
    path.write_text(dumps({**to_dict(STARTED), "version": 2}) + "\n")
    with pytest.raises(RunError, match="version 2"):
        read_trace(path)


@pytest.fixture(scope="module")
def real() -> bytes:
    """A real trace of two samples, with logits, candidates and a fingerprint, whose prompt holds characters of several bytes."""
    session = load("fable-6m", threads=1)
    preset = Preset.loads("pipeline: [{temperature: 0.8}, {top_k: 5}]\nmax_new_tokens: 4")
    events = list(run(session, "Once é 日", preset, Options(seed=1, samples=2, detail=Detail(logits=True))))
    events.insert(3, Hashed("0" * 64, {"model.safetensors": "1" * 64}))
    return b"".join(to_json(event).encode() + b"\n" for event in events)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_trace_cut_off_anywhere_is_read(real, data):
    size = data.draw(st.integers(0, len(real)))
    whole = read_trace(io.BytesIO(real)).events
    cut = read_trace(io.BytesIO(real[:size]))
    lines = real[:size].count(b"\n")
    ends_whole = size == 0 or real[size - 1 : size] == b"\n" or real[size : size + 1] == b"\n"
    assert cut.events == whole[: lines + (ends_whole and size > 0 and real[size - 1 : size] != b"\n")]
    assert (cut.broken is None) == ends_whole
    assert ends_whole or f"line {lines + 1} is cut short" in cut.broken


def test_a_trace_cut_off_after_every_kind_of_byte(real):
    """Behind the first of each byte there is in each line: quotes, escapes, halves of characters, signs, digits."""
    whole, start = read_trace(io.BytesIO(real)).events, 0
    for number, line in enumerate(real.splitlines(keepends=True)):
        for at in sorted({line.index(byte) for byte in set(line[:-2])}):
            cut = read_trace(io.BytesIO(real[: start + at + 1]))
            assert cut.events == whole[:number]
            assert cut.broken.endswith(f"line {number + 1} is cut short and was left out.")
        start += len(line)


HOSTILE = [
    b'{"event":"token","sample":0,"step":0,"id":1,"text":"","bytes":"?"}',
    b'{"event":"token","sample":0,"step":0,"id":1,"text":"","bytes":"AA"}',
    b'{"event":"token","sample":0,"step":0,"id":1e9,"text":"","bytes":""}',
    b'{"event":"token","sample":0,"step":0,"id":1,"text":"","bytes":"","logprob":NaN}',
    b'{"event":"token","sample":0,"step":0,"id":1,"text":"","bytes":"","logprob":-Infinity}',
    b'{"event":"token","sample":0,"step":0,"id":1,"text":"","bytes":"","logprob":1e999}',
    b'{"event":"token","sample":0,"step":0,"id":1,"text":"","bytes":"","logprob":' + b"9" * 400 + b"}",
    b'{"event":"token","sample":0,"step":0,"id":' + b"9" * 5000 + b',"text":"","bytes":""}',
    b'{"event":"token","candidates":' + b"[" * 100_000,
    b'{"event":' * 20_000,
    b"[1]",
    b"null",
    b"\x1b]0;owned\x07",
    b'{"event":"checkpoint","sha256":"\x1b[2J","files":5}',
    b"\xff\xfe\x00",
    b'{"event":"start","version":"\\u001b[31m"}',
]


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_line_is_a_sentence(real, line):
    with pytest.raises(RunError) as raised:
        read_trace(io.BytesIO(line + b"\n" + real))
    sentence = str(raised.value)
    assert "line 1: this is no event" in sentence
    assert len(sentence) < 300
    assert sentence.isprintable()
    assert read_trace(io.BytesIO(real + line)).broken is not None


def test_a_line_without_end_is_a_sentence(monkeypatch):
    monkeypatch.setattr("gencli.trace.LONGEST_LINE", 1000)
    with pytest.raises(RunError, match="line 1 holds more than"):
        read_trace(io.BytesIO(b"x" * 2000))


def test_events_come_one_by_one(real):
    stream = io.BytesIO(real)
    events = trace_events(stream, print)
    assert next(events).event == "start"
    assert stream.tell() < len(real) / 2
    started, rest = begun(trace_events(io.BytesIO(real), print))
    assert (started, *rest) == read_trace(io.BytesIO(real)).events
    with pytest.raises(RunError, match="no start"):
        begun(iter([FINISHED]))


@pytest.mark.slow
def test_a_long_trace_of_everything_takes_little_memory(tmp_path):
    """3,000 tokens with all 4,096 candidates each: the peak stays within 200 MB of that of three tokens."""
    peaks = []
    for tokens in (3, 3000):
        program = (
            "import resource, sys; from gencli.cli import gencli\n"
            f"gencli.main(['generate', '--seed', '1', '--candidates', 'all', '--trace', '/dev/null', '--max-new-tokens', '{tokens}', "
            "'--ignore-end', '--overflow', 'slide', '--quiet', 'Once'], standalone_mode=False)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        peaks.append(int(done.stderr.split()[-1]) * 1024)
    assert peaks[1] - peaks[0] < 200e6


def test_a_trace_that_cannot_be_read(tmp_path):
    with pytest.raises(RunError, match="cannot read"):
        read_trace(tmp_path / "absent")
