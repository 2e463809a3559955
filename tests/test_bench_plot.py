"""A measurement as curves: which there are, and that their points are the report's figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gencli.bar import Palette
from gencli.bench_plot import HEIGHT, plot_lines
from test_bench_report import INSTEAD, REPORT


@pytest.mark.parametrize("report", [REPORT, INSTEAD])
@pytest.mark.parametrize("width", [None, 30, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(report, width):
    lines = plot_lines(report, width, Palette())
    assert max(map(len, lines)) <= (width or 120)
    assert all(line == line.rstrip() for line in lines)


def test_speeds_are_drawn_over_lengths_and_rows():
    lines = plot_lines(REPORT, 80, Palette())
    at = lines.index("decode: tokens a second over rows")
    assert lines[at + 1].startswith("4,000 ┤")
    assert lines[at + 1].endswith("●")
    assert [line.split() for line in lines[at + 2 + HEIGHT : at + 4 + HEIGHT]] == [["1", "2", "16"], ["●", "after", "32", "tokens"]]
    assert "prefill: tokens a second over the prompt's length" in lines


def test_the_trade_and_the_growth_have_two_curves_each():
    text = "\n".join(plot_lines(INSTEAD, 80, Palette()))
    assert "● with the cache  ○ without" in text
    assert "● measured  ○ the limit" in text
    assert "800 ms ┤" in text
    assert "decode: tokens" not in text


def test_what_was_not_measured_has_no_curve():
    nothing = replace(REPORT, prefill=(), decode=())
    assert not any("┤" in line for line in plot_lines(nothing, 80, Palette()))
