"""`gencli verify`: exit code 0 where everything is as it was, 1 with one sentence where something differs."""

from __future__ import annotations

import json
import shutil

import pytest

from gencli.commands.generate import generate
from gencli.commands.verify import verify
from gencli.errors import RunError, UsageError
from shell import Shell
from terminals import on_a_terminal


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """A trace with its fingerprint, under the preset chat, whose template holds special tokens."""
    path = tmp_path_factory.mktemp("trace") / "trace.jsonl"
    arguments = ["--preset", "chat", "--seed", "7", "--min-new-tokens", "6", "--max-new-tokens", "6", "--trace", str(path)]
    generate.main([*arguments, "--quiet", "--no-stdin", "-o", str(path.with_name("text")), "Who are <|user|> you?"], standalone_mode=False)
    return path


@pytest.fixture
def run(capfd):
    def go(*args):
        verify.main([str(arg) for arg in args], prog_name="gencli verify", standalone_mode=False)
        return capfd.readouterr().out

    return go


def test_the_same_run(run, traced):
    text = run(traced)
    assert "files          as recorded" in text
    assert "tokens         6 of 6 drawn again" in text
    assert "probabilities  at most 0 away" in text
    told = json.loads(run(traced, "--format", "json"))
    assert told["difference"] is None
    assert told["sha256"] == told["recorded_sha256"]
    assert (told["tokens"], told["same"], told["largest"]) == (6, 6, 0)


def test_another_precision_is_another_run(run, traced, capfd):
    with pytest.raises(RunError, match=r"differs by|draws token"):
        run(traced, "--precision", "int8", "--tolerance", "0")
    assert "sha256" in capfd.readouterr().out  # the report is there all the same


def test_a_checkpoint_that_is_not_there(run, traced, tmp_path):
    lines = traced.read_text().splitlines()
    for path in ("/nowhere/\x1b[2J", 5, None):
        values = json.loads(lines[0])
        values["checkpoint"]["path"] = path
        lost = tmp_path / "lost.jsonl"
        lost.write_text("\n".join([json.dumps(values), *lines[1:]]))
        with pytest.raises(UsageError, match="is not there; name one with --checkpoint"):
            run(lost)
        assert "as recorded" in run(lost, "--checkpoint", "fable-6m")


def test_a_trace_without_a_fingerprint(run, traced, tmp_path):
    bare = tmp_path / "bare.jsonl"
    bare.write_text("".join(line + "\n" for line in traced.read_text().splitlines() if '"event":"checkpoint"' not in line))
    assert "not compared: the trace holds no fingerprint" in run(bare)


def test_one_flipped_bit_from_the_shell(traced, fable, tmp_path):
    shell = Shell(tmp_path)
    shutil.copytree(fable, tmp_path / "copy")
    same = shell("verify", str(traced), "--checkpoint", "./copy")
    assert (same.code, same.err) == (0, "")
    weights = tmp_path / "copy" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-2] ^= 1
    weights.write_bytes(data)
    done = shell("verify", str(traced), "--checkpoint", "./copy")
    assert done.code == 1
    assert b"files          not those of the trace" in done.out
    assert done.err == "gencli: the checkpoint's files are not those of the trace: their sha256 differs.\n"
    assert shell("verify", str(traced), "--checkpoint", "./nowhere").code == 2
    assert shell("verify", "-", stdin=traced.read_bytes()[:300]).code == 1


def test_a_terminal_sees_progress_and_then_only_the_report(traced, tmp_path):
    written, code = on_a_terminal(Shell(tmp_path), ("verify", str(traced)), columns=90)
    assert code == 0
    progress, _, report = written.decode().rpartition("\r\x1b[K")
    assert "\rloading the model\x1b[K" in progress
    assert "\n" not in progress
    assert report.startswith("checkpoint ")
    quiet, code = on_a_terminal(Shell(tmp_path), ("verify", str(traced), "--quiet"))
    assert code == 0
    assert quiet.startswith(b"checkpoint ")
