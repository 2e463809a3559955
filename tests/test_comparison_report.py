"""A comparison in lines and as csv: where texts part, distances, luck; of any width."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from gencli.bar import Palette, cells
from gencli.comparison import Comparison, Contender, Luck, Point, Run
from gencli.comparison_report import MARK, comparison_csv, comparison_lines
from gencli.variety import Estimate

SHARED = 'He said, "hm" and '
POINTS = tuple(Point(0, step, step, f" w{step}", 0.5, 0.25, step / 10, step / 20, 3, step, 0) for step in range(8))
FIRST = Contender("warm", "temperature: 1.0", {}, (Run(0, SHARED + "ran", (1, 2), "length", None, None, None),), 0, None, None, ())
FIRST = replace(FIRST, points=tuple(replace(point, distance=0.0) for point in POINTS))
OTHER = Contender(
    "cold",
    "temperature: 0.5",
    {},
    (Run(0, SHARED + "sat\x1b[2J", (1, 3), "length", None, 1, len(SHARED)),),
    1,
    Estimate(0.35, 0.3, 0.4),
    Estimate(0.175),
    POINTS,
)
FOUND = Comparison("0", {"name": "toy"}, "Once", 7, 1, 0, (FIRST, OTHER), Luck((0, None, 4), Estimate(0.6)))


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width):
    lines = comparison_lines(FOUND, width, Palette())
    assert max(map(cells, lines)) <= max(22, width)
    assert all(line == line.rstrip() for line in lines)


def test_the_texts_are_marked_where_they_part():
    lines = comparison_lines(FOUND, None, Palette())
    assert '  "He said, \\"hm\\" and ran"' in lines
    assert f'  "He said, \\"hm\\" and {MARK}sat\\x1b[2J"' in lines
    assert "cold · parts at step 1 · temperature: 0.5" in lines
    same = replace(FOUND, contenders=(FIRST, replace(OTHER, runs=FIRST.runs)))
    assert "cold · the same text · temperature: 0.5" in comparison_lines(same, None, Palette())


def test_on_a_terminal_only_its_own_text_is_coloured():
    lines = comparison_lines(FOUND, 30, Palette("attributes"))
    own = [line for line in lines if "sat" in line]
    assert len(own) == 1
    before, _, after = own[0].partition("\x1b[1m")
    assert "sat" in after
    assert "sat" not in before


def test_distances_and_luck_stand_side_by_side():
    lines = comparison_lines(FOUND, None, Palette())
    cold = next(line for line in lines if line.startswith("cold   "))
    luck = next(line for line in lines if line.startswith("luck: other noise"))
    assert cold.split() == ["cold", "1", "17.5%", "0.350", "(0.300", "to", "0.400)", *cold.split()[-1:]]
    assert cold.count("█") == 8  # of 24 cells, 35 %
    assert "4 (1 of 3 never)" in luck
    assert "60.0%" in luck


def test_the_steps_that_differ_most_are_listed_in_their_order():
    lines = comparison_lines(FOUND, None, Palette(), top=2)
    at = lines.index("where cold differs most along warm's text")
    rows = [line.split() for line in lines[at + 2 :]]
    assert [row[0] for row in rows] == ["6", "7"]
    assert rows[1] == ["7", '"', 'w7"', "50.00%", "25.00%", "0.700", "3", "7", "0"]
    assert "where" not in "\n".join(comparison_lines(FOUND, None, Palette(), top=0))


def test_equal_settings_have_nothing_to_list():
    equal = replace(FIRST, name="again", distance=Estimate(0.0, 0.0, 0.0), changed=Estimate(0.0, 0.0, 0.0))
    lines = comparison_lines(replace(FOUND, contenders=(FIRST, equal)), None, Palette())
    row = next(line for line in lines if line.startswith("again   "))
    assert row.split()[1] == "never"
    assert not any(line.startswith("where") for line in lines)


def test_csv_reads_back():
    rows = list(csv.DictReader(io.StringIO(comparison_csv(FOUND))))
    assert len(rows) == len(POINTS)
    assert rows[3] == {
        "first": "warm", "setting": "cold", "sample": "0", "step": "3", "id": "3", "text": " w3", "first_prob": "0.5", "prob": "0.25",
        "distance": "0.3", "changed": "0.15", "kept": "3", "only_first": "3", "only_other": "0",
    }  # fmt: skip
