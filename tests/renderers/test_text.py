"""Text: the generated text and nothing else, sample after sample."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gencli.renderers.text import Text
from gencli.terminal import Output
from steps import FINISHED, STARTED, step, story
from streams import pipe, terminal


@pytest.fixture
def written(tmp_path):
    """Shows events to a renderer and tells what its file holds."""

    def show(events, close=True, **options):
        output = Output(tmp_path / "text")
        text = Text(output, **options)
        for event in events:
            text.show(event)
        if close:
            text.close()
            text.close()
        output.close()
        return (tmp_path / "text").read_text(encoding="utf-8")

    return show


def test_text_ends_with_one_newline(written):
    assert written(story(["Once", " upon"])) == "Once upon\n"
    assert written(story(["Once", " upon\n"])) == "Once upon\n"
    assert written(story(["Once", "\n\n"])) == "Once\n\n"
    assert written(story([])) == "\n"


def test_no_newline_adds_none(written):
    assert written(story(["Once"]), newline=False) == "Once"
    assert written(story([]), newline=False) == ""


def test_echo_prints_the_prompt_first(written):
    assert written(story([" upon"]), echo=True) == "Once upon\n"
    assert written(story(["a"], samples=2), echo=True) == "Oncea\n---\nOncea\n"


def test_markup_and_control_characters_are_text(written):
    assert written(story(["[bold]", "\x1b[1m", "[/nothing]"])) == "[bold]\x1b[1m[/nothing]\n"


def test_text_that_was_held_back_comes_with_the_finish(written):
    assert written([STARTED, step("a"), replace(FINISHED, text="\ufffd")]) == "a\ufffd\n"


def test_a_token_is_written_when_it_is_shown(written):
    assert written([STARTED, step("a"), step("", 1), step("b", 2)], close=False) == "ab"


def test_samples_follow_whole_and_in_order(written):
    start = replace(STARTED, samples=3, first_sample=2)
    events = [start, step("a", sample=2), step("X", sample=3), step("1", sample=4)]
    assert written(events, close=False) == "a"
    events += [replace(FINISHED, sample=4), step("b", 1, sample=2), step("Y\n", 1, sample=3)]
    assert written(events, close=False) == "ab"
    events += [replace(FINISHED, sample=2)]
    assert written(events, close=False) == "ab\n---\nXY\n"  # the second streams now
    events += [step("Z", 2, sample=3)]
    assert written(events, close=False) == "ab\n---\nXY\nZ"
    events += [replace(FINISHED, sample=3, text="!")]
    assert written(events) == "ab\n---\nXY\nZ!\n---\n1\n"


@pytest.mark.parametrize(
    ("separator", "between"), [("---", "\n---\n"), ("", "\n\n"), ("= =", "\n= =\n"), ("\\0", "\0"), ("\0", "\0"), ("\\n", "\n\\n\n")]
)
def test_the_separator(written, separator, between):
    assert written(story(["a"], samples=2), separator=separator) == f"a{between}a\n"
    assert written(story(["a"], samples=2), separator=separator, newline=False) == f"a{between}a"


def test_after_a_failure_all_that_there_was_is_written(written):
    events = [replace(STARTED, samples=3), step("a"), step("x", sample=1), step("1", sample=2)]
    assert written(events) == "a\n---\nx\n---\n1\n"
    assert written([STARTED, step("half")]) == "half\n"
    assert written([]) == ""


def test_bytes_arrive_at_a_pipe_token_by_token():
    with pipe(1) as read:
        text = Text(Output())
        text.show(STARTED)
        for piece in ("日", "本"):
            text.show(step(piece))
            assert os.read(read, 100) == piece.encode()


def test_a_terminal_sees_control_characters():
    with terminal(1) as screen:
        text = Text(Output(), separator="\\0")
        for event in story(["\x1b]0;owned\x07\x9b2J\n"], samples=2):
            text.show(event)
        text.close()
        assert screen.read() == "␛]0;owned␇\\x9b2J\n␀␛]0;owned␇\\x9b2J\n"


@given(st.lists(st.text(max_size=5), max_size=8), st.integers(1, 4))
def test_every_sample_is_there(parts, samples):
    class Kept:
        text = ""

        def write(self, text):
            self.text += text

    kept = Kept()
    text = Text(kept)
    for event in story(parts, samples=samples):
        text.show(event)
    text.close()
    whole = "".join(parts)
    whole += "" if whole.endswith("\n") else "\n"
    assert kept.text == "---\n".join([whole] * samples)
