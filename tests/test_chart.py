"""Curves in lines of text: points where they belong, no line too wide, labels that do not touch."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gencli.bar import Palette
from gencli.chart import BETWEEN, MARKS, Curve, chart

number = st.floats(0, 1e6, allow_nan=False)
points = st.lists(st.tuples(st.integers(0, 10_000), number), min_size=1, max_size=8, unique_by=lambda point: point[0])


def draw(*curves: Curve, columns: int = 60, rows: int = 9) -> list[str]:
    return chart(curves, columns, rows, "{:.0f}".format, "{:.1f}".format, Palette())


def test_a_straight_line() -> None:
    lines = draw(Curve("speed", ((0, 0), (2, 8), (4, 16))), columns=15, rows=5)
    assert lines == [
        "16.0 ┤       ·●",
        "     │      ·",
        " 8.0 ┤   ·●·",
        "     │  ·",
        "   0 ┤●·",
        "     └─────────",
        "      0   2   4",
        "● speed",
    ]


def test_the_first_curve_is_seen_where_two_meet() -> None:
    lines = draw(Curve("one", ((1, 5), (3, 5))), Curve("other", ((1, 5), (3, 0))), columns=20)
    assert "".join(lines[:-1]).count(MARKS[0]) == 2
    assert "".join(lines[:-1]).count(MARKS[1]) == 1
    assert lines[-1] == "● one  ○ other"


def test_points_need_no_order() -> None:
    assert draw(Curve("a", ((3, 1), (1, 4), (2, 2)))) == draw(Curve("a", ((1, 4), (2, 2), (3, 1))))


def test_one_point_stands_in_the_middle() -> None:
    lines = draw(Curve("a", ((7, 3),)), columns=20)
    assert lines[0].index("●") == pytest.approx(len("3.0 ┤") + (20 - 5) / 2, abs=1)
    assert lines[-2].strip() == "7"


@pytest.mark.parametrize("columns", [0, 5, 12])
def test_without_room_there_is_no_plane(columns: int) -> None:
    assert draw(Curve("a", ((1, 1000), (2, 3))), columns=columns) == []
    assert draw() == []


@given(st.lists(points, min_size=1, max_size=4), st.integers(20, 120), st.integers(3, 20))
def test_whatever_the_numbers(curves: list[list[tuple[int, float]]], columns: int, rows: int) -> None:
    lines = draw(*(Curve(f"c{at}", tuple(each)) for at, each in enumerate(curves)), columns=columns, rows=rows)
    assert max(map(len, lines)) <= columns
    plane = lines[:rows]
    assert all(re.fullmatch(rf" *[\d.]* ?[┤│][ {BETWEEN}{MARKS}]*", line) for line in plane)
    assert "●" in "".join(plane)
    ticks = [int(text) for text in lines[rows + 1].split()]
    places = {x for each in curves for x, _ in each}
    assert set(ticks) <= places
    assert ticks[-1] == max(places)
    assert ticks == sorted(ticks)
