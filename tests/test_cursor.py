"""Where the cursor may stand: the reckoning against pyte's cursor, and against a library of character widths."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wcwidth import wcwidth

from gencli.cursor import DISPUTED, Cursor, cells_of
from screen import Screen


def columns(cursor: Cursor) -> list[int]:
    return [column for column in range(cursor.width + 1) if cursor.cells >> column & 1]


def test_no_width_that_is_called_sure_is_disputed():
    wrong = {}
    for code in range(0x20, sys.maxunicode + 1):
        character = chr(code)
        if (width := cells_of(character)) != DISPUTED and width != wcwidth(character):
            wrong[hex(code)] = (width, wcwidth(character))
    assert wrong == {}


@pytest.mark.parametrize(
    ("character", "width"),
    [
        ("a", 1),
        ("é", 1),
        ("я", 1),
        ("’", 1),
        ("␛", 1),
        ("日", 2),
        ("한", 2),
        ("😀", 2),
        ("\u0301", 0),
        ("\u200d", DISPUTED),
        ("\ufe0f", DISPUTED),
        ("🇩", DISPUTED),
        ("🏽", DISPUTED),
        ("❤", DISPUTED),
        ("\xad", DISPUTED),
        ("\x9b", DISPUTED),
    ],
)
def test_widths(character, width):
    assert cells_of(character) == width


@pytest.mark.parametrize(
    ("text", "rows", "after"),
    [
        ("", 0, [0]),
        ("abc", 0, [3]),
        ("x" * 10, 0, [10]),
        ("x" * 11, 1, [1]),
        ("x" * 20, 1, [10]),
        ("x" * 31, 3, [1]),
        ("日本", 0, [4]),
        ("日本日本日本", 1, [2]),
        ("x日本日本日", None, [2, 10]),  # one cell was left: some wrap, some cut
        ("abc\n", 1, [0]),
        ("x" * 10 + "\n", 1, [0]),
        ("a\n\nb", 2, [1]),
        ("a\tb", 0, [9]),
        ("a\tb\t", 0, [9]),
        ("e\u0301", 0, [1]),
        ("\u200d", 0, [0, 1, 2]),
    ],
)
def test_rows_and_columns(text, rows, after):
    cursor = Cursor(10)
    assert cursor.advance(text) == rows
    assert columns(cursor) == after
    assert cursor.at_start == (after == [0])
    assert cursor.may_be_pending == (10 in after)


def test_a_disputed_column_is_sure_again_after_a_newline():
    cursor = Cursor(10)
    cursor.advance("👍🏽👍🏽")
    assert len(columns(cursor)) > 1
    cursor.advance("\nabc")
    assert columns(cursor) == [3]


def test_a_narrower_window_may_cut_or_flow():
    cursor = Cursor(80)
    cursor.advance("x" * 70)
    cursor.resize(40)
    assert columns(cursor) == [30, 39, 40]
    cursor.advance("\n")
    cursor.resize(20)
    assert columns(cursor) == [0]


CHARACTERS = st.sampled_from(
    [*"abcdefgh  \n\t", "é", "日", "한", "😀", "\u0301", "\u200d", "\ufe0f", "🇩", "🏽", "ﷺ", "क", "्", "ั", "\u1160"]
)


@settings(deadline=None)
@given(st.lists(st.text(CHARACTERS, min_size=1, max_size=30), max_size=15), st.integers(2, 40))
def test_the_cursor_of_a_real_screen_is_always_among_the_possible(texts, width):
    cursor, screen = Cursor(width), Screen(width, 10)
    for text in texts:
        before = screen.row
        rows = cursor.advance(text)
        screen.put(text)
        assert cursor.cells >> screen.cursor.x & 1
        assert rows is None or screen.row == before + rows


@given(st.lists(st.text("abcdef ghi\n", max_size=50), max_size=15), st.integers(1, 40))
def test_plain_text_leaves_no_doubt(texts, width):
    cursor = Cursor(width)
    for text in texts:
        assert cursor.advance(text) is not None
        assert len(columns(cursor)) == 1
