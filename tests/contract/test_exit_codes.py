"""The contract's chapter "Exit codes": how every ending looks from a shell."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

STORY = ("generate", "--seed", "1", "Once upon a time")
ENDLESS = ("generate", "--seed", "1", "--ignore-end", "--overflow", "slide", "--max-new-tokens", "1000000", "Once upon a time")


def no_traceback(result):
    assert "Traceback" not in result.err
    return result


def test_done(shell):
    result = shell(*STORY, "--max-new-tokens", "5")
    assert result.code == 0
    assert result.err == ""


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--presset", "creative", "x"], "--preset"),
        (["--preset", "craetive", "x"], "creative"),
        (["--set", "top_kk=3", "x"], "top_k"),
        (["--set", "top_k.kk=3", "x"], "k"),
        (["--top-p", "1.5", "x"], "(0, 1]"),
        (["--temperature", "-1", "x"], "temperature"),
        (["--pipeline", "top_k,topp", "x"], "top_p"),
        (["--checkpoint", "fabel-6m", "x"], "fable-6m"),
        (["--seed", "-1", "x"], "seed"),
        (["--samples", "0", "x"], "samples"),
        (["--precision", "float8", "x"], "float32"),
        (["--bars", "maybe", "x"], "auto"),
    ],
)
def test_wrong_usage_says_what_is_right(shell, args, said):
    result = no_traceback(shell("generate", *args))
    assert result.code == 2
    assert said in result.err
    assert result.out == b""


def test_an_unknown_command_names_the_nearest(shell):
    result = shell("genrate", "x")
    assert result.code == 2
    assert "'generate'" in result.err


def test_a_gate_of_the_users(shell):
    length = shell(*STORY, "--max-new-tokens", "5", "--fail-on", "length")
    assert length.code == 3
    assert length.out.count(b"\n") == 1
    loop = shell("generate", "--logit-bias", "300=1000", "--fail-on", "loop", "--format", "json", "x")
    assert loop.code == 3
    finish = json.loads(loop.out)["samples"][0]["finish"]
    assert (finish["reason"], finish["new_tokens"]) == ("loop", 24)
    assert shell("generate", "--logit-bias", "300=1000", "--stop-on", "loop", "x").code == 0
    assert shell(*ENDLESS, "--time-limit", "0.2", "--fail-on", "time").code == 3


def test_gates_by_probability_and_entropy(shell):
    unlikely = shell(*STORY, "--min-prob", "0.9")
    assert unlikely.code == 3
    assert re.fullmatch(r"gencli: a gate tripped \(min_prob: [\d.e-]+ < 0\.9\); --min-prob exits with 3\.\n", unlikely.err)
    wide = shell(*STORY, "--max-entropy", "1", "--format", "json")
    finish = json.loads(wide.out)["samples"][0]["finish"]
    assert (wide.code, finish["reason"]) == (3, "gate")
    assert re.fullmatch(r"max_entropy: [\d.]+ > 1 bits", finish["stop"])
    assert shell(*STORY, "--max-new-tokens", "5", "--min-prob", "1e-12", "--max-entropy", "13").code == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_leave_text_and_trace_whole(shell, number, code):
    process = shell.popen(*ENDLESS, "--trace", "t.jsonl", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = os.read(process.stdout.fileno(), 10)
    time.sleep(0.3)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert err == b""
    text = (first + out).decode()
    assert text.endswith("\n")
    events = [json.loads(line) for line in (shell.folder / "t.jsonl").read_text().splitlines()]
    assert events[-1]["event"] == "finish"
    assert events[-1]["reason"] == "interrupted"
    told = "".join(event["text"] for event in events if event["event"] in ("token", "finish"))
    assert text.removesuffix("\n") == told.removesuffix("\n")


def test_a_signal_while_loading(shell):
    process = shell.popen(*ENDLESS, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until_caught(process, signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 143
    assert b"Traceback" not in err


def wait_until_caught(process: subprocess.Popen[bytes], number: int) -> None:
    """Until the process handles this signal: before, the interpreter is still starting and simply dies of it."""
    status = Path(f"/proc/{process.pid}/status")
    for _ in range(400):
        time.sleep(0.05)
        caught = re.search(r"^SigCgt:\s*(\w+)", status.read_text(), re.MULTILINE) if status.exists() else None
        if caught is None or int(caught[1], 16) >> (number - 1) & 1:
            return


@pytest.mark.slow
def test_a_signal_while_nobody_reads(shell):
    process = shell.popen(
        *ENDLESS, "--format", "jsonl", "--candidates", "200", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    os.read(process.stdout.fileno(), 1)
    time.sleep(2)  # the pipe is full by now
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 143
    process.stdout.close()
    process.stderr.close()


def test_the_reader_closed_the_pipe(shell):
    result = shell.sh(
        'gencli generate --seed 1 --ignore-end --overflow slide --max-new-tokens 1000000 "Once" | head -c 20; exit ${PIPESTATUS[0]}'
    )
    assert result.code == 141
    assert result.err == ""
    assert len(result.out) == 20


@pytest.mark.parametrize("command", ["presets list", "stages", "--help", "tokens 'some text'"])
def test_other_commands_and_a_closed_pipe(shell, command):
    result = shell.sh(f"gencli {command} | true; exit ${{PIPESTATUS[0]}}")
    assert result.code in (0, 141)
    assert result.err == ""


def test_a_closed_stderr_is_ignored(shell):
    plain = shell(*STORY, "--max-new-tokens", "5")
    for bars in ("auto", "each"):
        result = shell.sh(f'gencli generate --seed 1 --max-new-tokens 5 --bars {bars} "Once upon a time" 2>&-')
        assert (result.code, result.out) == (0, plain.out)
    assert shell.sh("gencli generate --no-such 2>&-").code == 2


def test_a_closed_stdin_counts_as_absent(shell):
    assert shell.sh('gencli generate --max-new-tokens 1 "Once" <&-').code == 0
    assert shell.sh("gencli generate <&-").code == 2


def test_a_closed_stdout_is_said(shell):
    result = no_traceback(shell.sh('gencli generate --max-new-tokens 3 "Once" >&-'))
    assert result.code == 1
    assert "stdout" in result.err


def test_a_full_disk_under_stdout(shell):
    for command in ('generate --max-new-tokens 3 "Once"', "presets list", "--help"):
        result = no_traceback(shell.sh(f"gencli {command} > /dev/full"))
        assert result.code == 1, command
        assert "space" in result.err


def test_a_full_disk_under_the_trace(shell):
    result = no_traceback(shell(*STORY, "--max-new-tokens", "5", "--trace", "/dev/full"))
    assert result.code == 1
    assert "/dev/full" in result.err
    assert "space" in result.err


def test_a_full_disk_under_the_output_file(shell):
    result = no_traceback(shell(*STORY, "-o", "/dev/full"))
    assert result.code == 1
    assert "/dev/full" in result.err


def test_an_output_file_that_cannot_be(shell):
    for flag in ("-o", "--trace"):
        result = no_traceback(shell(*STORY, flag, "no/such/folder/file"))
        assert result.code in (1, 2)
        assert "no/such/folder/file" in result.err
        assert result.out == b""


# checkpoints


@pytest.fixture
def broken(shell, fable):
    """A copy of the embedded checkpoint to damage."""
    folder = shell.folder / "broken"
    shutil.copytree(fable, folder)
    return folder


def test_an_unknown_checkpoint_is_wrong_usage(shell):
    result = shell("generate", "--checkpoint", "./nowhere", "x")
    assert result.code == 2
    assert "nowhere" in result.err


@pytest.mark.parametrize("size", [0, 7, 100, 20_000, 1_000_000])
def test_a_truncated_checkpoint(shell, broken, size):
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    result = no_traceback(shell("generate", "--checkpoint", "./broken", "x"))
    assert result.code == 1
    assert "model.safetensors" in result.err
    assert result.err.count("\n") == 1


def header(entries, length=None):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


@pytest.mark.parametrize(
    "content",
    [
        header({}, 2**60),
        header({}, 2**64 - 1),
        header({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
        header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}),
        header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "b": {"dtype": "F32", "shape": [1], "data_offsets": [2, 6]}})
        + b"\0" * 6,
        header({"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}) + b"\0" * 4,
        header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}) + b"\0" * 4,
        header(b"[" * 100_000),
        header(b'{"a": ' * 20_000),
        header(b"not json"),
        header({"\x1b]0;owned\x07": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}) + b"\0" * 4,
    ],
)
def test_a_hostile_header(shell, broken, content):
    (broken / "model.safetensors").write_bytes(content)
    result = no_traceback(shell("generate", "--checkpoint", "./broken", "x"))
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert "\x1b" not in result.err


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", b"{"),
        ("config.json", b"[" * 100_000),
        ("config.json", b"[]"),
        ("config.json", b"\xff\xfe"),
        ("config.json", b'{"architectures": ["LlamaForCausalLM"], "vocab_size": 1000000000000}'),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b"[" * 100_000),
        ("tokenizer.json", b'{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}'),
        ("generation_config.json", b'"text"'),
        ("generation_config.json", b'{"eos_token_id": {"a": 1}}'),
    ],
)
def test_a_damaged_file_beside_the_weights(shell, broken, file, content):
    (broken / file).write_bytes(content)
    result = no_traceback(shell("generate", "--checkpoint", "./broken", "x"))
    assert result.code == 1
    assert result.err.count("\n") == 1


def test_a_missing_file_beside_the_weights(shell, broken):
    for file in ("tokenizer.json", "config.json", "model.safetensors"):
        (broken / file).unlink()
        result = no_traceback(shell("generate", "--checkpoint", "./broken", "x"))
        assert result.code == 1
        assert result.err.count("\n") == 1


def test_an_unreadable_checkpoint(shell, broken):
    weights = broken / "model.safetensors"
    weights.unlink()
    weights.mkdir()  # root reads every file; nobody reads a folder
    result = no_traceback(shell("generate", "--checkpoint", "./broken", "x"))
    assert result.code == 1
    assert "model.safetensors" in result.err


def test_debug_shows_the_traceback(shell, broken):
    (broken / "config.json").write_bytes(b"{")
    result = shell("generate", "--checkpoint", "./broken", "x", env={"GENCLI_DEBUG": "1"})
    assert "Traceback" in result.err
