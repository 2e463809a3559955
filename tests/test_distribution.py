"""The table of a distribution: a column a stage, each of which adds up, in every width."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from gencli.bar import Palette, cells
from gencli.distribution import distribution_lines
from steps import numbers, step

PLAIN = Palette("none")


def lines_of(width: int | None, palette: Palette = PLAIN, **changes: object) -> list[str]:
    token = replace(step(" the", 5, drawn=1), **changes)
    return distribution_lines(token.candidates, token.stages, width, palette, raw_entropy=token.raw_entropy)


def test_in_a_window_the_first_and_the_last_column_have_bars():
    lines = lines_of(79)
    assert lines[0].split() == ["raw", "temper…", "top_k"]
    assert lines[1] == '" é"              8.14 % █▎                 8.14 %  20.66 % ███▎'
    assert lines[7] == '"👩\\u200d👧"      4.59 % ▊                  4.59 %  cut by top_k'
    assert lines[11] == "others           44.19 % ███████▏          44.19 %      0 %"
    assert [line[:15].strip() for line in lines[13:]] == ["entropy, bits", "kept", "removed", "KL to raw, bits"]


def test_in_a_pipe_nothing_is_abbreviated_and_the_reason_is_told():
    lines = lines_of(None)
    assert lines[0].split() == ["raw", "temperature", "top_k"]
    assert lines[7].endswith("cut by top_k  rank 9 > 6")
    assert "…" not in "".join(lines)


@pytest.mark.parametrize("width", [None, 200, 79, 59, 45, 39])
def test_every_column_adds_up_and_every_line_fits(width):
    lines = lines_of(width)
    assert width is None or all(cells(line) <= width for line in lines)
    rows = [numbers(re.sub(r'^".*?"', "", line)) for line in lines[1:12]]
    assert sum(row[0] for row in rows) == pytest.approx(100)
    columns = max(len(row) for row in rows)
    assert sum(row[-1] for row in rows if len(row) == columns) == pytest.approx(100)


def test_a_narrow_window_keeps_the_raw_and_the_last_column():
    lines = lines_of(39)
    assert lines[0].split() == ["raw", "top_k"]
    assert lines[7].endswith("top_k")


def test_without_stages_there_is_the_model_alone():
    lines = lines_of(79, stages=())
    assert lines[0].split() == ["raw"]
    assert "kept" not in "".join(lines)


def test_a_removed_token_is_struck():
    lines = lines_of(79, Palette("standard"))
    assert sum("\x1b[2;9m" in line for line in lines) == 4


def test_hostile_tokens_are_text():
    assert all(line.isprintable() for line in lines_of(79))
