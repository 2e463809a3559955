"""Answers and orders as lines: shares that add up, blocked ones that say by whom, and widths that hold."""

from __future__ import annotations

import re

import pytest

from gencli.bar import Palette, cells
from gencli.inspection import Outcome
from gencli.inspection_report import choice_lines, order_lines
from gencli.scores import ScoredChoice, ScoredToken

PLAIN = Palette("none")


def token(text, surprisal, removed_by=None):
    return ScoredToken(0, 1, text, text.encode(), -surprisal / 1.4427, surprisal, 3, 5.0, 2.0, None if removed_by else -1.0, removed_by, 0)


CHOICES = [
    ScoredChoice(" cat", (token(" cat", 2.0),), 0.6665, 1.0),
    ScoredChoice(" a dragon\n", (token(" a", 1.0), token(" dragon\n", 3.0, "top_k")), 0.3335, 0.0),
]


def test_answers_with_shares_that_add_up():
    lines = choice_lines(CHOICES, None, PLAIN, staged=False)
    assert lines[0].split() == ["raw", "share", "bits"]
    assert sum(float(re.search(r"([\d.]+) %", line)[1]) for line in lines[1:3]) == pytest.approx(100)
    assert lines[2].startswith('" a dragon\\n"  33.35 %')
    assert lines[2].endswith("  4.00")
    assert lines[-1] == '" a dragon\\n"  " a" 1.00  " dragon\\n" 3.00'


def test_a_blocked_answer_says_by_whom():
    lines = choice_lines(CHOICES, None, PLAIN, staged=True)
    assert lines[0].split() == ["raw", "share", "preset", "bits"]
    assert "  100 %" in lines[1]
    assert "cut by top_k" in lines[2]
    assert lines[-1].endswith('" dragon\\n" 3.00 cut by top_k')
    every = [ScoredChoice("x", (token("x", 1.0, "top_p"),), 1.0, None)]
    assert "cut by top_p" in choice_lines(every, None, PLAIN, staged=True)[1]


@pytest.mark.parametrize("width", [60, 80])
def test_the_table_of_answers_fits_a_window(width):
    lines = choice_lines([ScoredChoice("x" * 200, CHOICES[0].tokens, 1.0, 1.0)], width, PLAIN, staged=False)
    assert cells(lines[1]) <= width


OUTCOMES = [
    Outcome((("a", "b", "c"), *((f"s{n}",) for n in range(11))), 37, 0.5, 3.2, True),
    Outcome((("c", "b", "a"),), 1, 1.0, 0.0, False),
]


def test_orders_under_what_they_keep():
    lines = order_lines(OUTCOMES, None, PLAIN)
    assert lines[0] == "13 orders of the stages, 2 results"
    assert lines[2] == "kept 37 tokens of 50.00 %, entropy 3.20 bits, by 12 orders"
    assert lines[3] == "▸ a › b › c  (the preset's own)"
    assert lines[-2:] == ["kept 1 token of 100 %, entropy 0.00 bits, by 1 order", "  c › b › a"]
    assert sum(line.startswith("  s") for line in lines) == 11


def test_a_terminal_lists_some_and_says_so():
    lines = order_lines(OUTCOMES, 80, PLAIN)
    assert sum(line.startswith("  s") for line in lines) == 7
    assert "  and 4 more, which a pipe or --format csv lists" in lines
