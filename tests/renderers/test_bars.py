"""Bars beside a run: on one terminal with the text, on a terminal of their own, and in a pipe."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from dataclasses import replace

import pytest

from gencli.errors import UsageError
from gencli.renderers import Together
from gencli.renderers.bars import FRAME_SECONDS, MODES, Bars, summary
from gencli.renderers.text import Text
from gencli.terminal import Messages, Output
from proofs import quick
from screen import Screen
from steps import FINISHED, STARTED, pieces, step, story
from streams import as_descriptor, pipe, terminal

STORY = (
    "Once upon a time a 龍 lived under the bridge, naïve and e\u0301meu\u0301.\n\n"
    "Children 👩\u200d👩\u200d👧 came 🏽 every morning:\tit held its breath. "
)
SUMMARY = "10 tokens · first after 0.50 s · 31.2 tokens/s · seed 7 · length (--max-new-tokens allows more)"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


class Clock:
    """A time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def together(mode, clock=None, quiet=False, path=None):
    messages, output = Messages(quiet), Output(path)
    bars = Bars(mode, messages, output, clock or Clock())
    return Together(Text(output), bars), bars, output


def in_a_pipe(events, mode, **options):
    """What a run leaves on a stderr that is a pipe."""
    with pipe(2) as read, as_descriptor(1, os.open(os.devnull, os.O_WRONLY)):
        renderer, _, _ = together(mode, **options)
        for event in events:
            renderer.show(event)
        renderer.close()
        os.write(2, b"end")
        return os.read(read, 1 << 20).decode().removesuffix("end")


# one terminal for the text and the bars


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (40, 10), (25, 8)])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", quick([1, 2], 1))
def test_the_screen_ends_as_the_text_alone_with_the_summary(columns, lines, mode, seed):
    screen, alone, clock = Screen(columns, lines), Screen(columns, lines), Clock()
    text, frames = STORY * 5, 0
    with terminal(1, 2, columns=columns, lines=lines) as both:
        renderer, _, _ = together(mode, clock)
        for event in story(pieces(text, seed), reason="end_token"):
            renderer.show(event)
            clock.now += 0.04
            written = both.read()
            assert "\x1b[2J" not in written
            assert "\x1b[J" not in written
            frames += written.count("\x1b8") > 0
            screen.put(written)
            if mode != "each":
                alone.put(getattr(event, "text", ""))
                assert screen.row == alone.row
                assert screen.rows(0, screen.row + 1) == alone.rows(0, alone.row + 1)
        renderer.close()
        screen.put(both.read())
    alone.put("\n")
    assert (frames > 20) == (mode in ("auto", "always"))
    if mode != "each":
        told = "".join(screen.text()[alone.row : screen.row])
        assert screen.text()[: alone.row] == alone.text()[: alone.row]
        assert told.startswith(f"{len(pieces(text, seed))} tokens · first after")
        assert told.endswith("seed 7 · end token")
    assert not any(screen.text()[screen.row :])


def test_the_panel_stands_under_the_text_with_its_colours():
    screen = Screen(80, 24)
    with terminal(1, 2) as both:
        renderer, _, _ = together("auto")
        renderer.show(STARTED)
        renderer.show(step("Once", 1, drawn=2))
        screen.put(both.read())
        shown = screen.text()
        assert shown[0] == "Once"
        assert shown[1].startswith("── step 1 ─")
        assert shown[4].startswith('▸ "Once"')
        assert screen.buffer[4][2].fg == "green"
        removed = next(y for y, row in enumerate(shown) if "cut by top_k" in row)
        assert screen.buffer[removed][2].strikethrough
        assert screen.cursor.x == 4
        renderer.close()
        screen.put(both.read())
        assert screen.text()[:2] == ["Once", ""]  # no sample ended, so there is nothing to sum up


def test_no_color_keeps_the_words_and_the_strokes(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal(1, 2) as both:
        renderer, _, _ = together("auto")
        for event in story(["a", "b"]):
            renderer.show(event)
        renderer.close()
        written = both.read()
    assert "cut by top_k" in written
    codes = {code for codes in re.findall(r"\x1b\[([\d;]*)m", written) for code in codes.split(";")}
    assert codes == {"0", "1", "2", "9"}


def test_a_dumb_terminal_gets_no_escape(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    for mode in MODES:
        with terminal(1, 2) as both:
            renderer, _, _ = together(mode)
            for event in story(["a", "b"]):
                renderer.show(event)
            renderer.close()
            assert "\x1b" not in both.read()


def test_hostile_tokens_move_nothing():
    screen = Screen(80, 24)
    with terminal(1, 2) as both:
        renderer, _, _ = together("auto", Clock())
        for event in story(["\x1b[2J", "\x1b]0;owned\x07", "\x9b10A", "\x1bc", "\r\b\x0e"]):
            renderer.show(event)
            screen.put(both.read())
        renderer.close()
        screen.put(both.read())
    assert (screen.titles, screen.displays_erased) == ([], 0)
    assert screen.text()[0] == "␛[2J␛]0;owned␇\\x9b10A␛c␍␈␎"


def test_a_frame_is_one_write_and_there_are_at_most_fifteen_a_second():
    clock = Clock()
    with terminal(1, 2) as both:
        renderer, bars, _ = together("auto", clock)
        writes = []
        bars._messages.raw, bars._panel._write = None, writes.append
        renderer.show(STARTED)
        for at in range(300):
            renderer.show(step("x", at))
            clock.now += 0.01
        both.read()
        frames = [write for write in writes if "step" in write]
        assert 1 / FRAME_SECONDS <= 15
        assert 25 <= len(frames) <= 45
        assert all(frame.endswith("\x1b8") for frame in frames)


def test_detail_is_wanted_only_for_frames_that_are_drawn():
    clock = Clock()
    with terminal(1, 2):
        renderer, bars, _ = together("auto", clock)
        renderer.show(STARTED)
        assert bars.wants_detail()
        renderer.show(step("a"))
        assert not bars.wants_detail()
        renderer.show(replace(step("b", 1), candidates=None, stages=None))
        clock.now += 1.01 * FRAME_SECONDS
        assert bars.wants_detail()
        for mode in ("never", "each"):
            assert together(mode)[1].wants_detail() == (mode == "each")


def test_a_long_prompt_is_announced():
    with terminal(1, 2) as both:
        renderer, _, _ = together("auto")
        renderer.show(replace(STARTED, prompt_ids=(1,) * 500))
        assert "reading the prompt: 500 tokens" in both.read()


def test_a_warning_makes_room_and_the_text_goes_on():
    screen = Screen(80, 24)
    with terminal(1, 2) as both:
        renderer, bars, _ = together("auto")
        renderer.show(STARTED)
        renderer.show(step("Once", 1))
        bars._messages.warning("something")
        renderer.show(step("upon", 2))
        renderer.close()
        screen.put(both.read())
    assert [row for row in screen.text() if row] == ["Once", "gencli: warning: something", "upon"]


def test_a_window_that_changes_its_size():
    screen, alone, clock = Screen(80, 24), Screen(80, 24), Clock()
    sizes = {40: (50, 24), 90: (40, 10), 140: (100, 30)}
    with terminal(1, 2) as both:
        renderer, _, _ = together("auto", clock)
        for at, event in enumerate(story(pieces(STORY * 6, 3))):
            if at in sizes:
                columns, lines = sizes[at]
                both.resize(columns, lines)
                screen.resize(lines, columns)
                alone.resize(lines, columns)
            renderer.show(event)
            clock.now += 0.11
            screen.put(both.read())
            alone.put(getattr(event, "text", ""))
            assert screen.rows(0, screen.row + 1) == alone.rows(0, alone.row + 1)
        renderer.close()
        screen.put(both.read())
    assert screen.text()[: alone.row + 1] == alone.text()[: alone.row + 1]
    assert "final" not in "".join(screen.text())


def test_samples_are_shown_in_their_turn():
    clock = Clock()
    with terminal(1, 2) as both:
        renderer, _, _ = together("auto", clock)
        for event in (replace(STARTED, samples=2), step("a"), step("x", sample=1)):
            renderer.show(event)
            clock.now += 1
        assert "sample 1" not in both.read()
        for event in (FINISHED, step("y", 1, sample=1)):
            renderer.show(event)
        assert "sample 1, step 1" in both.read()
        renderer.close()


# elsewhere


def test_a_file_takes_the_text_and_the_terminal_the_bars(tmp_path):
    with terminal(2) as person:
        renderer, _, output = together("auto", path=tmp_path / "text")
        for event in story(["a", "b\n"]):
            renderer.show(event)
        renderer.close()
        output.close()
        screen = Screen(80, 24)
        screen.put(person.read())
    assert (tmp_path / "text").read_text() == "ab\n"
    assert next(row for row in screen.text() if row).startswith("2 tokens")


@pytest.mark.parametrize("mode", MODES)
def test_a_pipe_beside_a_terminal_draws_only_always(mode):
    with pipe(1) as read, terminal(2) as person:
        renderer, _, _ = together(mode)
        for event in story(["a", "b"]):
            renderer.show(event)
        renderer.close()
        written = person.read()
        assert os.read(read, 100) == b"ab\n"
    assert ("\x1b8" in written) == (mode == "always")
    assert "seed 7" in written


def test_always_in_a_pipe_is_one_plain_frame_and_the_summary():
    written = in_a_pipe(story(["a", "b", "c"]), "always")
    assert "\x1b" not in written
    assert written.count("others") == 1
    lines = written.splitlines()
    assert lines[0].startswith("── step 2 ─")
    assert lines[-1] == SUMMARY.replace("10 tokens", "3 tokens")


def test_each_in_a_pipe_is_a_plain_line_a_token_and_the_summary():
    lines = in_a_pipe(story(["a", "b", "\x1b\n"]), "each").splitlines()
    assert len(lines) == 4
    assert all("%" in line and "▸" in line for line in lines[:3])
    assert '"\\x1b\\n"' in lines[2]
    assert "%" not in lines[3]
    assert "\x1b" not in "".join(lines)


def test_force_color_colours_a_pipe_and_moves_no_cursor(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    written = in_a_pipe(story(["a"]), "always")
    assert "\x1b[1;32m" in written
    assert set(re.findall(r"\x1b\[[\d;]*(.)", written)) == {"m"}


@pytest.mark.parametrize("mode", ["auto", "never"])
def test_otherwise_a_pipe_gets_nothing(mode):
    assert in_a_pipe(story(["a"]), mode) == ""


@pytest.mark.parametrize("mode", MODES)
def test_quiet_is_quiet(mode):
    assert in_a_pipe(story(["a"]), mode, quiet=True) == ""
    with terminal(1, 2) as both:
        renderer, bars, _ = together(mode, quiet=True)
        for event in story(["a"]):
            renderer.show(event)
        renderer.close()
        assert both.read() == "a\n"
        assert not bars.wants_detail()


def test_a_closed_stderr_is_ignored(tmp_path):
    for mode in MODES:
        with ExitStack() as stack:
            stack.enter_context(as_descriptor(2, None))
            renderer, _, output = together(mode, path=tmp_path / mode)
            for event in story(["a"]):
                renderer.show(event)
            renderer.close()
            output.close()
        assert (tmp_path / mode).read_text() == "a\n"


def test_an_unknown_mode_names_the_choices():
    with pytest.raises(UsageError, match="auto, always, each, never"):
        Bars("sometimes", Messages(), Output())


FAST = {"tokens_per_second": 1234.5, "reason": "stop_string", "stop": "\n\x1b"}
NOTHING = {"new_tokens": 0, "tokens_per_second": None, "seconds_to_first_token": None, "reason": "interrupted"}
ONE = {"new_tokens": 1, "tokens_per_second": None, "reason": "end_token", "stop": "<|end|>"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, SUMMARY),
        (ONE, '1 token · first after 0.50 s · seed 7 · end token "<|end|>"'),
        (NOTHING, "0 tokens · seed 7 · interrupted"),
        (FAST, '10 tokens · first after 0.50 s · 1234 tokens/s · seed 7 · stop string "\\n\\x1b"'),
        ({"reason": "context"}, SUMMARY.replace("length (--max-new-tokens allows more)", "context (--overflow slide goes on)")),
    ],
)
def test_the_summary(changes, told):
    assert summary(STARTED, [replace(FINISHED, **changes)]) == told


def test_the_summary_of_samples():
    ends = [FINISHED, replace(FINISHED, sample=1, reason="end_token", stop="x"), replace(FINISHED, sample=2)]
    assert summary(STARTED, ends) == (
        "3 samples · 30 tokens · first after 0.50 s · 93.8 tokens/s · seed 7 · 2 length (--max-new-tokens allows more), 1 end token"
    )
