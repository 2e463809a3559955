"""One step as lines: what is shown, that it fits every window, and that what is shown adds up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gencli.bar import Palette, cells
from gencli.events import StageReport
from gencli.frame import step_line, step_lines
from steps import numbers, step

PLAIN = Palette("none")


def test_a_frame_of_a_usual_window():
    lines = step_lines(step(" the", 5, drawn=1), 79, 11, PLAIN, "step 5")
    assert len(lines) == 11
    assert lines[0] == "── step 5 ─────────── raw ──────────────────────── final ──"
    assert lines[1] == '  " é"                 8.14 % █▌                   20.66 % ███▉'
    assert lines[2] == '▸ " the"               8.12 % █▌                   20.60 % ███▉'
    assert lines[4] == '  "\\x1b[2J"            5.98 % █▏                   15.17 % ██▉'
    assert lines[8] == '  "\\u0301"             4.31 % ▉                    cut by top_k'
    assert lines[9] == "  others              51.68 % █████████▉               0 %"
    assert lines[10] == "  entropy 5.38 → 2.56 bits · temperature › top_k 6 left"


def test_a_frame_of_a_small_window():
    assert step_lines(step(" the", 5, drawn=1), 39, 6, PLAIN, "step 5") == [
        "── step 5 ─ raw ──── final ──",
        '  " é"       8.14 %  20.66 % ██▏',
        '▸ " the"     8.12 %  20.60 % ██',
        '  "."        6.34 %  16.08 % █▋',
        "  others    77.40 %  42.66 % ████▎",
        "  5.38 → 2.56 bits · top_k 6",
    ]


def test_a_frame_of_the_smallest_windows():
    assert step_lines(step(" the", 5, drawn=1), 19, 2, PLAIN) == ['▸ " the"   20.60 %', "  others   79.40 %"]
    assert len(step_lines(step("x"), 19, 1, PLAIN)) == 1


def test_without_a_window_nothing_is_abbreviated():
    long = "a very long token that no window could hold, " * 3
    lines = step_lines(step(long, drawn=3), None, None, PLAIN, "step 0")
    assert any(long in line for line in lines)
    assert len(lines) == 13
    assert not any("…" in line for line in lines)


def test_the_drawn_token_is_always_shown_and_marked():
    for drawn in (0, 5, 9, 40):
        lines = step_lines(step(" mine", drawn=drawn, kept=60), 79, 6, PLAIN)
        (marked,) = [line for line in lines if line.startswith("▸")]
        assert '" mine"' in marked


def test_a_removed_token_is_struck_and_says_by_whom():
    lines = step_lines(step("x", kept=2), 79, 11, Palette("standard"), "step 0")
    removed = [line for line in lines if "cut by top_k" in line]
    assert len(removed) == 6
    assert all("\x1b[2;9m" in line for line in removed)
    narrow = step_lines(step("x", kept=2), 25, 6, PLAIN, "step 0")
    assert sum("top_k" in line for line in narrow[:-1]) == 1


def test_stages_that_do_not_fit_are_shortened_or_have_a_line_of_their_own():
    names = ["repetition_penalty", "temperature", "top_k", "top_p"]
    stages = tuple(StageReport(name, at, 9 - at, 0.1, 1.0, 0.0) for at, name in enumerate(names))
    token = replace(step("x"), stages=stages)
    large = step_lines(token, 79, 11, PLAIN)
    assert large[-2].startswith("  entropy")
    assert large[-1] == "  repetition_penalty 9 left › temperature 8 left › top_k 7 left › top_p 6 left"
    assert step_lines(token, 60, 11, PLAIN)[-1].endswith("top_k 7 …")
    assert step_lines(token, 79, 7, PLAIN)[-1].endswith("repetition_penalty 9 › temperature 8 › top_k 7 › top_p 6")


def test_without_stages_and_measures_the_foot_is_short():
    token = replace(step("x"), stages=(), entropy=None, raw_entropy=None)
    assert "entropy" not in "".join(step_lines(token, 79, 11, PLAIN))


def test_a_token_without_text_is_shown_by_its_id():
    token = step("x", drawn=2)
    token = replace(token, candidates=tuple(replace(each, text="") for each in token.candidates))
    assert any(line.startswith("▸ #2") for line in step_lines(token, 79, 11, PLAIN))


windows = st.tuples(st.integers(19, 200), st.integers(1, 12))


@given(windows, st.text(max_size=20), st.integers(0, 30), st.integers(1, 60), st.integers(0, 1000))
def test_every_frame_fits_its_window_and_adds_up(window, text, drawn, kept, at):
    width, most = window
    lines = step_lines(step(text, at, drawn, max(kept, drawn + 1)), width, most, PLAIN, f"step {at}")
    assert len(lines) <= most
    assert all(cells(line) <= width for line in lines)
    assert all(line.isprintable() for line in lines)
    shares = [numbers(line) for line in lines if " %" in line]
    if most >= 2:
        assert sum(line[-1] for line in shares if len(line) == len(shares[0])) == pytest.approx(100)
        if width >= 34:
            assert sum(line[0] for line in shares) == pytest.approx(100)


@given(st.integers(47, 200) | st.none(), st.text(max_size=40), st.integers(0, 12))
def test_a_line_a_token_fits_and_adds_up(width, text, drawn):
    line = step_line(step(text, drawn=drawn, kept=13), width, PLAIN, "step 0")
    assert line.isprintable()
    assert width is None or cells(line) <= width
    if width is None or width >= 65:
        assert sum(numbers(line)) == pytest.approx(100)


def test_a_line_a_token():
    assert step_line(step(" the", 5, drawn=1), None, PLAIN, "step 5") == (
        '  step 5  ▸ " the"           20.60 % ██          " é" 20.66 %  "." 16.08 %  "\\x1b[2J" 15.17 %  others 27.49 %'
    )
    assert step_line(replace(step(" the", 5), candidates=None), 79, PLAIN, "step 5") == '  step 5  ▸ " the"'
