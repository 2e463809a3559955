"""Curves over an axis, as lines of text. Knows no measurement and no terminal: it is told how wide to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gencli.bar import Palette

MARKS = "●○▲△■□◆◇"
BETWEEN = "·"
NARROWEST = 8  # columns of a plane that still shows a shape


@dataclass(frozen=True)
class Curve:
    """Points (x, y) in any order; no y is negative."""

    name: str
    points: tuple[tuple[float, float], ...]


def chart(
    curves: Sequence[Curve], columns: int, rows: int, across: Callable[[float], str], up: Callable[[float], str], palette: Palette
) -> list[str]:
    """A plane of `rows` lines with y from 0, its axes and a legend, no line wider than `columns`.

    `across` and `up` spell a number of the axis. Where two curves meet, the first one is seen. Without room for
    a plane there is none: the caller's numbers say it better.
    """
    ends = [x for curve in curves for x, _ in curve.points]
    most = max((y for curve in curves for _, y in curve.points), default=0.0) or 1.0
    labels = {0: up(most), rows // 2: up(most * (rows - 1 - rows // 2) / (rows - 1)), rows - 1: "0"}
    margin = max(map(len, labels.values()))
    wide = columns - margin - 2
    if not ends or wide < NARROWEST:
        return []
    low, high = min(ends), max(ends)

    def column(x: float) -> int:
        return round((x - low) / (high - low) * (wide - 1)) if high > low else wide // 2

    plane = _plane(curves, wide, rows, column, most)
    lines = [f"{labels.get(at, ''):>{margin}} {'┤' if at in labels else '│'}{''.join(row)}".rstrip() for at, row in enumerate(plane)]
    below = f"{'':{margin}} └{'─' * wide}"
    ticks = f"{'':{margin + 2}}{_ticks(sorted(set(ends)), wide, column, across)}"
    legend = "  ".join(f"{mark} {curve.name}" for mark, curve in zip(MARKS, curves, strict=False))
    return [*(palette("final", line) for line in lines), palette("final", below), ticks, *_legend(legend, columns)]


def _plane(curves: Sequence[Curve], wide: int, rows: int, column: Callable[[float], int], most: float) -> list[list[str]]:
    plane = [[" "] * wide for _ in range(rows)]

    def put(at: int, y: float, mark: str) -> None:
        plane[rows - 1 - round(y / most * (rows - 1))][at] = mark

    for curve in curves:
        for (x, y), (later, higher) in pairwise(sorted(curve.points)):
            first, last = column(x), column(later)
            for at in range(first + 1, last):
                put(at, y + (higher - y) * (at - first) / (last - first), BETWEEN)
    for mark, curve in reversed(list(zip(MARKS, curves, strict=False))):
        for x, y in curve.points:
            put(column(x), y, mark)
    return plane


def _ticks(places: Sequence[float], wide: int, column: Callable[[float], int], across: Callable[[float], str]) -> str:
    """The numbers under the axis, each beneath its place; one that would touch its neighbour is left out, but never the last."""
    texts = {column(x): across(x) for x in places}
    last = max(texts)
    line, limit = "", max(0, min(last, wide - len(texts[last])))
    for at, text in sorted(texts.items()):
        start = limit if at == last else max(0, min(at, wide - len(text)))
        fits = not line or start > len(line)
        if at == last or (fits and start + len(text) < limit):
            line = line[:start].ljust(start) + text
    return line


def _legend(text: str, columns: int) -> list[str]:
    return [text] if len(text) <= columns else [each for each in text.split("  ") if len(each) <= columns]
