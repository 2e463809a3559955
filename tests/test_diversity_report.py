"""A survey in lines and as csv: of any width, with intervals shaded, and nothing that moves a terminal."""

from __future__ import annotations

import csv
import io

import pytest

from gencli.bar import Palette, cells
from gencli.diversity import Ending, Measured, Survey
from gencli.diversity_report import NOTE, SHADE, survey_csv, survey_lines
from gencli.variety import Estimate, Variety


def setting(heat, share, name=None, distinct_3=None):
    figure = Estimate(share, share - 0.1, share + 0.1)
    loops, endings = Estimate(0.0, 0.0, 0.1), {"length": 9, "end_token": 1}
    known = Variety(10, 400, figure, (figure, figure, distinct_3), loops, Estimate(2 * share, share, 3 * share), endings)
    name = name or f"temperature={heat}"
    return Measured(name, f"temperature: {heat}", {"temperature": heat}, {}, known, (Ending(0, "a", "length", None),))


def of(*settings):
    return Survey("0", {"name": "toy"}, "Once\n", 7, 10, 0, settings)


FOUND = of(setting("0.5", 0.3), setting("1.5", 0.8, distinct_3=Estimate(0.5)))


@pytest.mark.parametrize("width", [None, 20, 40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width):
    lines = survey_lines(FOUND, width, Palette())
    assert max(map(cells, lines)) <= (width or len(NOTE))
    assert all(line == line.rstrip() for line in lines)
    assert lines[0].startswith("10 samples a settin")


def test_bars_are_in_proportion_and_shaded_up_to_the_intervals_end():
    lines = survey_lines(FOUND, 100, Palette())
    one, two = lines[lines.index("unique texts") + 1 :][:2]
    assert "temperature=0.5    30.0 %  (20.0 to 40.0)" in one
    assert (one.count("█"), one.count(SHADE)) == (8, 8)  # of 40 cells, 20 % and up to 40 %
    assert (two.count("█"), two.count(SHADE)) == (28, 8)
    entropy = lines[lines.index("mean entropy, bits a token") + 2]
    assert "1.60  (0.80 to 2.40)" in entropy
    assert entropy.count("█") + entropy.count("▍") + entropy.count(SHADE) >= 39  # the largest end fills the room


def test_what_cannot_be_told_is_said():
    lines = survey_lines(FOUND, 100, Palette())
    none, no_interval = lines[lines.index("distinct-3: different triples") + 1 :][:2]
    assert none.endswith("- (no text is that long)")
    assert "50.0 %  " in no_interval
    assert SHADE not in no_interval
    assert "(" not in no_interval


def test_a_name_moves_no_terminal():
    text = "\n".join(survey_lines(of(setting("1", 0.5, name="bad\x1b[2Jname")), 80, Palette()))
    assert "\x1b" not in text
    assert "bad␛[2Jname" in text


def test_csv_has_a_column_for_what_varies_and_reads_back():
    rows = list(csv.DictReader(io.StringIO(survey_csv(FOUND))))
    assert [row["temperature"] for row in rows] == ["0.5", "1.5"]
    assert [float(row["unique"]) for row in rows] == [0.3, 0.8]
    assert [row["distinct_3"] for row in rows] == ["", "0.5"]
    assert rows[1]["distinct_3_low"] == ""
    assert {len(row) for row in rows} == {6 + 18}
    assert None not in rows[0]
