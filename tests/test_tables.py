"""Aligned columns: nothing wrapped in a pipe, everything on its line."""

from __future__ import annotations

from gencli.tables import table

ROWS = [("a", 1, "some words that are long enough to wrap"), ("bcd", 22, "")]


def test_columns_are_aligned_and_nothing_is_wrapped():
    assert table(("x", "n", "text"), ROWS) == "x    n   text\na    1   some words that are long enough to wrap\nbcd  22\n"


def test_a_terminal_gets_the_last_column_wrapped():
    lines = table(("x", "n", "text"), ROWS, width=33).splitlines()
    assert lines == ["x    n   text", "a    1   some words that are long", "         enough to wrap", "bcd  22"]
    assert table(("x", "n", "text"), ROWS, width=20) == table(("x", "n", "text"), ROWS)  # too narrow to help


def test_wide_characters_fill_two_columns_and_marks_none():
    assert table(("x", "y"), [("日本", "a"), ("e\u0301", "b")]) == "x     y\n日本  a\ne\u0301     b\n"


def test_a_cell_stays_on_its_line_and_obeys_nothing():
    text = table(("x",), [("a\nb\x1b[2J\x9b\u2028",)])
    assert text.count("\n") == 2
    assert "\x1b" not in text
    assert "\x9b" not in text
