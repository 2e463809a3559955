"""`gencli replay`: the same steps as text, json, jsonl and csv; flags lie over what was recorded; hostile traces are sentences."""

from __future__ import annotations

import csv
import io
import json
import sys

import pytest

from gencli.commands.generate import generate
from gencli.commands.replay import replay
from gencli.errors import GencliError, RunError, UsageError
from shell import Shell


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """A trace of two samples under the preset creative."""
    path = tmp_path_factory.mktemp("trace") / "trace.jsonl"
    arguments = [
        "--preset",
        "creative",
        "--seed",
        "7",
        "--samples",
        "2",
        "--max-new-tokens",
        "6",
        "--quiet",
        "--no-stdin",
        "--trace",
        str(path),
    ]
    generate.main([*arguments, "-o", str(path.with_name("text")), "Once upon a time"], standalone_mode=False)
    return path


@pytest.fixture
def run(capfd):
    def go(*args):
        replay.main([str(arg) for arg in args], prog_name="gencli replay", standalone_mode=False)
        return capfd.readouterr()

    return go


def steps_of(run, *args):
    return [json.loads(line) for line in run(*args, "--format", "jsonl").out.splitlines()]


def test_every_format_tells_the_same_steps(run, traced):
    steps = steps_of(run, traced, "--preset", "chat")
    assert [(step["sample"], step["step"]) for step in steps] == [(sample, step) for step in range(6) for sample in (0, 1)]
    whole = json.loads(run(traced, "--preset", "chat", "--format", "json").out)
    assert whole["steps"] == steps
    assert whole["same"] == sum(step["decided"] and step["id"] == step["recorded_id"] for step in steps)
    assert whole["undecided"] == 0
    assert whole["parts_at"] == next(step for step in steps if step["id"] != step["recorded_id"])
    rows = list(csv.DictReader(io.StringIO(run(traced, "--preset", "chat", "--format", "csv").out)))
    assert [int(row["id"]) for row in rows] == [step["id"] for step in steps]
    assert [float(row["recorded_prob_high"]) for row in rows] == [step["recorded_prob"][1] for step in steps]
    assert {row["decided"] for row in rows} == {"true"}
    text = run(traced, "--preset", "chat").out
    assert text.count("<- they part here") == 1
    assert text.count("differs") == len(steps) - whole["same"] - 1
    assert text.endswith(f"of sample {whole['parts_at']['sample']}.\n")
    assert f"{whole['same']} of 12 tokens are the recorded ones" in text


def test_without_flags_it_is_the_recorded_run(run, traced):
    text = run(traced).out
    assert text.endswith("\n12 of 12 tokens are the recorded ones.\n")
    assert "differs" not in text


def test_flags_change_the_recorded_pipeline(run, traced):
    """creative, with one knob changed, is not that knob alone."""
    colder = steps_of(run, traced, "--temperature", "0.5")
    assert colder != steps_of(run, traced, "--pipeline", "temperature", "--temperature", "0.5")
    assert steps_of(run, traced, "--set", "top_k.k=1") == steps_of(run, traced, "--top-k", "1")
    only = steps_of(run, traced, "--pipeline", "top_k,temperature", "--top-k", "1")
    assert all(step["prob"] == [1.0, 1.0] for step in only)
    assert steps_of(run, traced, "--seed", "8") != steps_of(run, traced)
    assert steps_of(run, traced, "--seed", "7") == steps_of(run, traced)


def test_what_is_not_decided_is_said(run, traced):
    text = run(traced, "--pipeline", "temperature", "--temperature", "1.8").out
    assert "not decided: up to " in text
    assert "are not decided by what the trace holds" in text
    assert " to " in text


def test_stdin_is_a_trace_too(run, traced, monkeypatch):
    with open(traced) as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert run("-").out == run(traced).out
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="stdin is closed"):
        run("-")


def test_a_cut_trace_is_replayed_and_said(run, traced, tmp_path):
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(traced.read_bytes()[:-2500])
    told = run(cut)
    assert "line" in told.err
    assert "is cut short and was left out" in told.err
    assert "tokens are the recorded ones" in told.out


def test_text_knobs_need_the_recorded_checkpoint_or_another(run, traced, tmp_path):
    lost = tmp_path / "lost.jsonl"
    start, _, rest = traced.read_bytes().partition(b"\n")
    values = json.loads(start)
    values["checkpoint"]["path"] = "/nowhere/at/all"
    lost.write_bytes(json.dumps(values).encode() + b"\n" + rest)
    assert steps_of(run, lost) == steps_of(run, traced)
    with pytest.raises(UsageError, match="needs the checkpoint's tokens"):
        run(lost, "--logit-bias", " the=-5")
    assert steps_of(run, lost, "--logit-bias", " the=-5", "--checkpoint", "fable-6m") == steps_of(run, traced, "--logit-bias", " the=-5")


@pytest.mark.parametrize("field", ["prompt", "checkpoint", "preset", "candidates", "bytes", "logits"])
def test_nothing_hostile_reaches_the_terminal(run, traced, tmp_path, field):
    bad = "\x1b[2J\x9b31m\u202e\x00"
    lines = [json.loads(line) for line in traced.read_bytes().splitlines()]
    for line in lines:
        if field == "bytes" and line["event"] == "token":
            line["bytes"] = "G1sySg=="  # an escape sequence as the token's own bytes
        elif field == "candidates" and line["event"] == "token":
            line["candidates"] = [{**each, "text": bad, "removed_by": bad} for each in line["candidates"]]
        elif field == "logits" and line["event"] == "token":
            line["logits"]["ids"] = bad
        elif line["event"] == "start" and field in line:
            line[field] = {"name": bad, "path": bad} if isinstance(line[field], dict) else bad
    hostile = tmp_path / "hostile.jsonl"
    hostile.write_text("".join(json.dumps(line) + "\n" for line in lines))
    try:
        told = "".join(run(hostile, "--preset", "greedy", "--checkpoint", "fable-6m"))
    except GencliError as error:
        told = str(error)
    assert told
    assert not [each for each in told if not each.isprintable() and each != "\n"]


def test_usage(run, traced, tmp_path):
    with pytest.raises(RunError, match=r"cannot read nothing\.jsonl"):
        run("nothing.jsonl")
    with pytest.raises(UsageError, match="creative"):
        run(traced, "--preset", "craetive")
    with pytest.raises(UsageError, match="--seed"):
        run(traced, "--seed", "-1")
    empty = tmp_path / "empty"
    empty.write_text("")
    with pytest.raises(RunError, match="no start of a run"):
        run(empty)


def test_from_the_shell(traced, tmp_path):
    shell = Shell(tmp_path)
    done = shell.sh(f"gencli replay - --preset greedy --format csv < {traced} | head -1; exit ${{PIPESTATUS[0]}}")
    assert done.code in (0, 141)
    assert done.out.startswith(b"sample,step,recorded_id,id,")
    assert done.err == ""
    failed = shell("replay", "/etc/passwd")
    assert failed.code == 1
    assert "line 1: this is no event" in failed.err
    assert failed.err.count("\n") == 1
