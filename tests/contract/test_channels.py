"""The contract's chapter "Two channels": what goes to stdout, what to stderr, and in which bytes."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from shell import Shell

STORY = ("generate", "--preset", "creative", "--seed", "1", "--max-new-tokens", "12", "Once upon a time")


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """What a pipe gets of the story."""
    result = Shell(tmp_path_factory.mktemp("story"))(*STORY)
    assert (result.code, result.err) == (0, "")
    return result.out


def test_stdout_is_the_text_and_nothing_else(shell, story):
    events = [json.loads(line) for line in shell(*STORY, "--format", "jsonl").out.splitlines()]
    text = "".join(event["text"] for event in events if event["event"] in ("token", "finish"))
    assert story.decode() == text.removesuffix("\n") + "\n"


def test_the_same_seed_repeats_a_run(shell, story):
    assert shell(*STORY).out == story


@pytest.mark.parametrize("bars", ["auto", "always", "each", "never"])
def test_the_same_bytes_under_every_bars(shell, story, bars):
    assert shell(*STORY, "--bars", bars).out == story


def test_bars_always_without_a_terminal_is_one_plain_frame_and_the_summary(shell):
    result = shell(*STORY, "--bars", "always")
    assert "\x1b" not in result.err
    assert "others" in result.err
    assert "seed 1" in result.err
    assert result.err.count("others") == 1


def test_bars_each_leaves_a_line_a_token(shell):
    result = shell(*STORY, "--bars", "each")
    assert "\x1b" not in result.err
    assert len([line for line in result.err.splitlines() if "%" in line]) == 12


def test_quiet_silences_what_was_asked_for(shell):
    assert shell(*STORY, "--quiet", "--bars", "always").err == ""


def test_echo_prints_the_prompt_first(shell, story):
    assert shell(*STORY, "--echo").out == b"Once upon a time" + story


def test_no_newline_adds_none(shell, story):
    assert shell(*STORY, "--no-newline").out == story.removesuffix(b"\n")


def test_text_that_ends_in_a_newline_gets_no_second_one(shell, fable):
    newline = _id_of(fable, "Ċ")
    forced = ("generate", "--logit-bias", f"{newline}=1000", "--max-new-tokens", "1", "x")
    assert shell(*forced).out == b"\n"


def _id_of(fable, token):
    return json.loads((fable / "tokenizer.json").read_text())["model"]["vocab"][token]


def test_output_goes_to_a_file(shell, story):
    result = shell(*STORY, "-o", "story.txt")
    assert result.out == b""
    assert (shell.folder / "story.txt").read_bytes() == story


def test_utf8_whatever_the_locale(shell):
    for locale in ("C", "en_US.ISO-8859-1"):
        result = shell(
            "generate",
            "--echo",
            "--max-new-tokens",
            "1",
            "--seed",
            "1",
            "naïve 日本",
            env={"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1"},
        )
        assert result.code == 0, result.err
        assert result.out.startswith("naïve 日本".encode())


def test_half_characters_become_one_replacement(shell, fable):
    first = _id_of(fable, "â")  # the byte E2, the start of a three-byte character
    result = shell("generate", "--logit-bias", f"{first}=1000", "--max-new-tokens", "2", "x")
    assert result.out == "\ufffd\ufffd\n".encode()
    events = [
        json.loads(line)
        for line in shell("generate", "--logit-bias", f"{first}=1000", "--max-new-tokens", "2", "--format", "jsonl", "x").out.splitlines()
    ]
    assert [event["bytes"] for event in events if event["event"] == "token"] == ["4g==", "4g=="]


def test_markup_is_text(shell):
    result = shell("generate", "--echo", "--max-new-tokens", "1", "--bars", "always", "[bold]x[/nothing]")
    assert result.code == 0
    assert result.out.startswith(b"[bold]x[/nothing]")


def test_samples_follow_whole_in_order_with_a_separator(shell, story):
    many = shell(*STORY, "--samples", "3").out.decode()
    parts = many.split("\n---\n")
    assert len(parts) == 3
    assert parts[0] == story.decode().removesuffix("\n")
    alone = shell(*STORY, "--first-sample", "2").out.decode()
    assert parts[2] == alone


def test_a_separator_of_ones_own(shell):
    assert b"\n===\n" in shell(*STORY, "--samples", "2", "--separator", "===").out
    assert shell(*STORY, "--samples", "2", "--separator", r"\0").out.count(b"\0") >= 1


def test_stop_strings_are_left_out_or_kept(shell, story):
    whole = story.decode()
    stop = whole[10:13]
    cut = shell(*STORY, "--stop", stop).out.decode()
    assert cut == whole[: whole.index(stop)] + "\n"
    kept = shell(*STORY, "--stop", stop, "--stop-inclusive").out.decode()
    assert kept == whole[: whole.index(stop) + len(stop)].removesuffix("\n") + "\n"


def test_text_is_flushed_per_token(shell):
    process = shell.popen(
        "generate",
        "--seed",
        "1",
        "--ignore-end",
        "--overflow",
        "slide",
        "--max-new-tokens",
        "100000",
        "Once",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    chunks = [os.read(process.stdout.fileno(), 65536) for _ in range(5)]
    process.terminate()
    process.communicate(timeout=20)
    assert all(0 < len(chunk) < 200 for chunk in chunks)


def test_escape_sequences_reach_a_pipe_untouched(shell, fable):
    escape = _id_of(fable, "ě") if "ě" in json.loads((fable / "tokenizer.json").read_text())["model"]["vocab"] else None
    byte = _escape_id(fable) if escape is None else escape
    result = shell("generate", "--logit-bias", f"{byte}=1000", "--max-new-tokens", "3", "x")
    assert result.out == b"\x1b\x1b\x1b\n"


def _escape_id(fable):
    # byte-level BPE writes byte 0x1B as the character U+011B
    return _id_of(fable, chr(0x100 + 0x1B))


def test_json_is_one_object_and_jsonl_one_event_a_line(shell):
    whole = json.loads(shell(*STORY, "--format", "json", "--samples", "2").out)
    assert set(whole) == {"start", "samples"}
    assert [set(sample) for sample in whole["samples"]] == [{"text", "ids", "finish"}] * 2
    names = [json.loads(line)["event"] for line in shell(*STORY, "--format", "jsonl").out.splitlines()]
    assert names == ["start", *["token"] * 12, "finish"]


def test_a_trace_beside_the_text(shell):
    result = shell.sh('gencli generate --seed 1 --max-new-tokens 4 --trace fd:3 "Once" 3>trace.jsonl')
    assert result.code == 0, result.err
    names = [json.loads(line)["event"] for line in (shell.folder / "trace.jsonl").read_text().splitlines()]
    assert names.count("token") == 4
    assert names[0] == "start"
    assert names[-1] == "finish"
    assert "checkpoint" in names
