"""What a command line asks of a run, before anything is loaded."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from gencli.errors import UsageError
from gencli.request import process_start, prompt_from, trace_from


def test_the_clock_starts_with_the_process() -> None:
    code = "import time; time.sleep(0.3); from gencli.request import process_start; print(time.monotonic() - process_start())"
    before = time.monotonic()
    told = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert 0.28 < told < time.monotonic() - before + 0.05  # the kernel counts in hundredths
    assert process_start() < time.monotonic()


def test_a_trace_is_a_file_or_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trace_from("story.jsonl") == "story.jsonl"
    assert trace_from("-") is sys.stdin.buffer
    monkeypatch.setattr(sys, "stdin", None)  # what Python makes of a closed descriptor
    with pytest.raises(UsageError, match="TRACE is -, but stdin is closed"):
        trace_from("-")


def test_without_a_stdin_the_argument_is_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    asked = {"prompt": "a", "prompt_file": None, "no_stdin": False, "keep_newline": False, "special": False}
    assert prompt_from(asked).text == "a"
    with pytest.raises(UsageError, match="standard input holds no prompt"):
        prompt_from(asked | {"prompt": None})
