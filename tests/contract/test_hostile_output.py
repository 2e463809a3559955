"""A model that emits escape sequences cannot move a terminal: on a real pseudo-terminal, and through pyte."""

from __future__ import annotations

import json

import pyte
import pytest

from terminals import on_a_terminal


def forced(fable):
    """Biases that leave the model nothing but the bytes of escape sequences to write."""
    vocab = json.loads((fable / "tokenizer.json").read_text())["model"]["vocab"]
    characters = {"\x1b": chr(0x100 + 0x1B), "\x07": chr(0x100 + 0x07), "\r": chr(0x100 + 0x0D), "\b": chr(0x100 + 0x08)}
    names = [*characters.values(), "[", "]", "0", "2", "5", ";", "J", "A", "H", "c"]
    # hot enough that all of them come
    return ["--temperature", "20", *(part for name in names for part in ("--logit-bias", f"{vocab[name]}=1000"))]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_sequence_of_the_models_reaches_the_terminal(shell, fable, seed):
    args = ["generate", "--seed", str(seed), "--ignore-end", "--max-new-tokens", "150", "--bars", "never", "--quiet", *forced(fable), "x"]
    written, code = on_a_terminal(shell, args)
    assert code == 0
    text = written.decode().replace("\r\n", "\n")  # the terminal's own line ends
    assert not [c for c in text if (c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f"]
    assert "\u241b" in text  # the escapes are there, visible


def test_bars_show_hostile_tokens_without_obeying_them(shell, fable):
    args = ["generate", "--seed", "1", "--ignore-end", "--max-new-tokens", "60", "--bars", "always", *forced(fable), "x"]
    written, code = on_a_terminal(shell, args)
    assert code == 0
    screen = pyte.Screen(80, 24)
    titles = []
    screen.set_title = titles.append
    pyte.ByteStream(screen).feed(written)
    assert titles == []
    assert b"\x1b]" not in written
    assert b"\x07" not in written
    assert b"\x1b[2J" not in written
    assert b"\x1bc" not in written


def test_a_pipe_gets_the_bytes_untouched(shell, fable):
    args = ("generate", "--seed", "1", "--ignore-end", "--max-new-tokens", "150", *forced(fable), "x")
    events = [json.loads(line) for line in shell(*args, "--format", "jsonl").out.splitlines()]
    text = "".join(event["text"] for event in events if event["event"] in ("token", "finish"))
    out = shell(*args).out.decode()
    assert out.removesuffix("\n") == text.removesuffix("\n")
    assert "\x1b" in out


def test_an_error_about_a_hostile_name_is_made_visible(shell):
    written, code = on_a_terminal(shell, ["generate", "--checkpoint", "./\x1b]0;owned\x07", "x"])
    assert code == 2
    assert b"\x1b]" not in written
