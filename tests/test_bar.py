"""Bars to an eighth of a cell, per cents that add up, tokens quoted on one line, colours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gencli.bar import PERCENT_CELLS, Palette, bar, cells, fit, label, percent, quote, shares


@pytest.mark.parametrize(
    ("share", "width", "drawn"),
    [
        (0, 8, ""),
        (1, 3, "███"),
        (0.5, 3, "█▌"),
        (1 / 64, 8, "▏"),
        (7 / 64, 8, "▉"),
        (0.25, 1, "▎"),
        (2.0, 2, "██"),
        (-1, 2, ""),
        (0.001, 8, ""),
    ],
)
def test_a_bar_is_drawn_in_eighths(share, width, drawn):
    assert bar(share, width) == drawn


@given(st.floats(0, 1), st.integers(0, 100))
def test_a_bar_is_as_long_as_its_share(share, width):
    drawn = bar(share, width)
    eighths = sum(8 if character == "█" else " ▏▎▍▌▋▊▉".index(character) for character in drawn)
    assert abs(eighths / 8 - share * width) <= 1 / 16 + 1e-9
    assert cells(drawn) <= width


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        (" the", '" the"'),
        ("\n", '"\\n"'),
        ("\t\r", '"\\t\\r"'),
        ('say "hi"\\', '"say \\"hi\\"\\\\"'),
        ("\x1b[2J\x9b", '"\\x1b[2J\\x9b"'),
        ("\u0301", '"\\u0301"'),
        ("e\u0301", '"e\u0301"'),
        ("\u202e\u200d\u2028", '"\\u202e\\u200d\\u2028"'),
        ("\U000e0001", '"\\U000e0001"'),
        ("\xa0", '"\\xa0"'),
        ("日本 é 😀 [bold]", '"日本 é 😀 [bold]"'),
        ("\udcff", '"\\udcff"'),
    ],
)
def test_a_token_is_quoted_on_one_line(text, quoted):
    assert quote(text) == quoted


@given(st.text(st.characters(codec=None)))
def test_a_quoted_token_is_printable(text):
    assert quote(text).isprintable()


def test_a_token_without_text_is_named_by_its_id():
    assert (label("", 5), label("a", 5)) == ("#5", '"a"')


@pytest.mark.parametrize(
    ("text", "width", "fitted"),
    [
        ("abc", 5, "abc  "),
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("日本", 3, "日…"),
        ("日本", 4, "日本"),
        ("a日本", 3, "a… "),
        ("ab", 0, ""),
        ("日本", 1, "…"),
    ],
)
def test_text_is_fitted_by_cells(text, width, fitted):
    assert fit(text, width) == fitted
    assert cells(fitted) == width


@given(st.text("ab日한é\u0301😀"), st.integers(0, 20))
def test_fitted_text_fills_exactly_its_cells(text, width):
    assert cells(fit(text, width)) == width


@pytest.mark.parametrize(
    ("points", "some", "shown"),
    [
        (0, True, "<0.01 %"),
        (0, False, "    0 %"),
        (1, True, " 0.01 %"),
        (90, True, " 0.90 %"),
        (1234, True, "12.34 %"),
        (10000, True, "  100 %"),
    ],
)
def test_per_cents_are_aligned(points, some, shown):
    assert percent(points, some) == shown
    assert len(shown) == PERCENT_CELLS


def test_nine_tenths_of_a_per_cent_are_not_next_to_nothing():
    points, _, _ = shares([0.009, 0.5])
    assert percent(points[0]) == " 0.90 %"


def test_what_is_left_of_rounding_goes_to_the_largest():
    assert shares([1 / 3, 1 / 3, 1 / 3]) == ([3334, 3333, 3333], 0, False)
    assert shares([0.99996, 0.00004, 0.0]) == ([10000, 0, 0], 0, False)


def test_equal_probabilities_stay_equal_while_there_are_others():
    assert shares([0.33333, 0.33333]) == ([3333, 3333], 3334, True)


@given(st.lists(st.floats(1e-9, 1), min_size=1, max_size=30), st.floats(0, 5))
def test_what_is_shown_adds_up(weights, other):
    total = sum(weights) + other
    points, rest, left = shares([weight / total for weight in weights])
    assert sum(points) + rest == 10000
    assert rest >= 0
    assert left or rest == 0
    assert all(abs(point - 10000 * weight / total) <= max(1, len(weights)) for point, weight in zip(points, weights, strict=True))


def test_without_colour_nothing_is_added():
    assert Palette("none")("chosen", "text") == "text"


def test_colours_and_attributes():
    assert Palette("standard")("chosen", "text") == "\x1b[1;32mtext\x1b[0m"
    assert Palette("attributes")("chosen", "text") == "\x1b[1mtext\x1b[0m"
    assert "9m" in Palette("attributes")("removed", "text")
    assert Palette("standard")("removed", ' " a"  ') == ' \x1b[2;9m" a"\x1b[0m  '
    assert Palette("standard")("chosen", "   ") == "   "
