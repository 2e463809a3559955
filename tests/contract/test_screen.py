"""The whole command on a pseudo-terminal: the flowing text is never disturbed by the bars under it."""

from __future__ import annotations

import pyte
import pytest

from terminals import on_a_terminal

STORY = ("generate", "--preset", "creative", "--seed", "3", "--max-new-tokens", "90", "--ignore-end", "Once upon a time")


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (40, 10)])
def test_the_screen_ends_as_the_text_and_one_summary(shell, columns, lines):
    text = shell(*STORY).out.decode()
    written, code = on_a_terminal(shell, STORY, columns, lines)
    assert code == 0
    assert b"\x1b[2J" not in written
    assert "█".encode() in written  # bars were there
    screen = pyte.Screen(columns, lines)
    pyte.ByteStream(screen).feed(written)
    alone = pyte.Screen(columns, lines)
    pyte.Stream(alone).feed(text.replace("\n", "\r\n"))
    summary = next(row for row, line in enumerate(screen.display) if "90 tokens" in line)
    said = [line.rstrip() for line in screen.display[:summary]]
    assert said == [line.rstrip() for line in alone.display[: alone.cursor.y]][-len(said) :]
    assert "seed 3" in "".join(screen.display[summary : summary + 3])


def test_a_window_that_changes_its_size(shell):
    sizes = [(80, 24), (50, 12), (30, 8), (100, 30)]
    written, code = on_a_terminal(shell, STORY, *sizes[0], later=sizes[1:])
    assert code == 0
    assert b"90 tokens" in written


def test_no_terminal_is_drawn_on_where_none_is_wanted(shell):
    for env in ({"TERM": "dumb"}, {"NO_COLOR": "1"}):
        written, code = on_a_terminal(shell, STORY, env=env)
        assert code == 0
        assert (b"\x1b" in written) == ("NO_COLOR" in env)
        assert b"\x1b[32m" not in written
        assert b"\x1b[36m" not in written


def test_quiet_leaves_the_text_alone(shell):
    written, code = on_a_terminal(shell, (*STORY, "--quiet"))
    assert code == 0
    assert written.decode().replace("\r\n", "\n") == shell(*STORY).out.decode()
