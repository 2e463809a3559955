"""A measurement in lines: of any width, with bars that tell the numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gencli.bar import Palette
from gencli.bench_report import SHADE, report_lines, seconds, size
from gencli.machine import Bandwidth
from gencli.measurement import Decode, Memory, Prefill, Report, Start, Trade

BANDWIDTH = Bandwidth(20e9, 1 << 28, 2)
DECODES = tuple(Decode(32, rows, 32, 0.004, rows / 0.004, 35_000_000, rows * 700_000, 900_000).limited(BANDWIDTH) for rows in (1, 2, 16))
REPORT = Report(
    gencli="0",
    torch="0",
    checkpoint={"name": "toy", "path": "/nowhere/toy", "bytes": 1},
    device="cpu",
    precision="float32",
    threads=1,
    repeat=3,
    start=Start(0.1, 1.0, 0.02, 0.04, 0.02, 0.00006, 1.18006, 0.004, 32),
    prefill=(Prefill(32, 0.01, 3200.0), Prefill(128, 0.04, 3200.0)),
    decode=DECODES,
    no_cache=(),
    context=(),
    memory=Memory(300_000_000, 200_000_000, None, 35_000_000, 900_000),
    bandwidth=BANDWIDTH,
)
TRADES = (Trade(16, 32, 0.1, 0.2, 0.1, 700_000), Trade(224, 32, 0.1, 0.8, 0.7, 3_900_000))
INSTEAD = replace(REPORT, prefill=(), decode=(), no_cache=TRADES, context=DECODES[:1])


@pytest.mark.parametrize("report", [REPORT, INSTEAD])
@pytest.mark.parametrize("width", [None, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(report, width):
    lines = report_lines(report, width, Palette())
    assert max(map(len, lines)) <= (width or 120)
    assert all(line == line.rstrip() for line in lines)


def test_a_narrow_terminal_gets_numbers_and_no_bars():
    text = "\n".join(report_lines(REPORT, 30, Palette()))
    assert "█" not in text
    assert "4,000" in text


def test_bars_are_in_proportion():
    lines = report_lines(REPORT, 100, Palette())
    one, two, sixteen = (line.count("█") for line in lines if line.lstrip().startswith("32 tokens") and "%" in line)
    assert (one, two, sixteen) == (2, 5, 40)
    torch_line = next(line for line in lines if "importing torch" in line)
    assert torch_line.endswith("█")
    assert "1.00 s" in torch_line


def test_what_the_cache_saves_is_shaded():
    first, last = (line for line in report_lines(INSTEAD, 100, Palette()) if line.endswith(SHADE))
    assert last.count("█") == first.count("█")
    assert last.count(SHADE) > first.count(SHADE)


def test_the_limit_is_told_in_per_cent():
    text = "\n".join(report_lines(REPORT, None, Palette()))
    assert "   45 %" in text  # 35.7 MB at 20 GB/s take 1.785 ms of 4
    assert "read bandwidth  20.0 GB/s (2 threads, buffer of 268 MB)" in text
    assert "peak memory     300 MB: weights 35.0 MB, cache 900 kB, Python and torch 200 MB" in text


def test_what_a_system_does_not_tell_is_said():
    memory = Memory(None, None, 5_000_000_000, 35_000_000, 900_000)
    text = "\n".join(report_lines(replace(REPORT, device="cuda", memory=memory), None, Palette()))
    assert "peak memory     not told here: weights 35.0 MB, cache 900 kB\non the device   5.00 GB\n" in text
    assert "(buffer of 268 MB)" in text


@pytest.mark.parametrize(
    ("number", "text"), [(1.5, "1.50 s"), (12.34, "12.3 s"), (0.0135, "13.5 ms"), (2e-7, "0.20 us"), (0, "0.00 us"), (-0.25, "-250 ms")]
)
def test_seconds_have_three_digits(number, text):
    assert seconds(number) == text


@pytest.mark.parametrize(("number", "text"), [(17_504_272, "17.5 MB"), (999, "999 bytes"), (2.1e10, "21.0 GB"), (15_360, "15.4 kB")])
def test_sizes_have_three_digits(number, text):
    assert size(number) == text
