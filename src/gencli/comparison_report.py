"""A comparison as lines: the texts with the place where they part, distances as bars, luck beside them. Knows no terminal and no model."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gencli.bar import Palette, bar, cells, fit, label, quote
from gencli.terminal import visible

if TYPE_CHECKING:
    from gencli.comparison import Comparison, Contender, Point
    from gencli.variety import Estimate

NARROWEST, WIDEST = 6, 24  # cells of a bar; with less room there is none
MARK = "▸"
GAP = "  "
LUCK = "luck: other noise"
HEADER = ("", "parts at step", "other token", "JS distance")


def comparison_lines(comparison: Comparison, width: int | None, palette: Palette, top: int = 5) -> list[str]:
    """The whole comparison, `width` columns wide (None: for a pipe, where nothing is cut), with the `top` steps that differ most."""
    first = comparison.contenders[0]
    tokens = len(first.points)
    plural = "s" * (comparison.samples > 1)
    head = f"seed {comparison.seed}, {comparison.samples} noise{plural}, {tokens:,} tokens of {first.name} · {quote(comparison.prompt)}"
    lines = [_cut(visible(head, on_one_line=True), width)]
    for contender in comparison.contenders:
        lines += ["", *_text(contender, contender is first, width, palette)]
    lines += ["", *_table(comparison, width, palette)]
    for contender in comparison.contenders[1:]:
        lines += _most(contender, first, top, width, palette)
    return lines


def comparison_csv(comparison: Comparison) -> str:
    """A line for every token of the first one's texts and every other setting."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ("sample", "step", "id", "text", "first_prob", "prob", "distance", "changed", "kept", "only_first", "only_other")
    writer.writerow(["first", "setting", *columns])
    first = comparison.contenders[0].name
    for contender in comparison.contenders[1:]:
        writer.writerows([first, contender.name, *(getattr(point, column) for column in columns)] for point in contender.points)
    return text.getvalue()


def _text(contender: Contender, is_first: bool, width: int | None, palette: Palette) -> list[str]:
    """A name, what it is, and what it wrote on the first noise, marked where it parts from the first one's."""
    run = contender.runs[0]
    name = visible(contender.name, on_one_line=True)
    same = "" if is_first else " · the same text" if run.parts_at is None else f" · parts at step {run.parts_at}"
    known = "" if contender.pipeline == contender.name else f" · {visible(contender.pipeline, on_one_line=True)}"
    title = palette("head", _cut(name + same + known, width))
    if is_first or run.parts_after is None:
        shared, own = quote(run.text), ""
    else:
        shared, own = quote(run.text[: run.parts_after])[:-1], MARK + quote(run.text[run.parts_after :])[1:]
    if width is None:
        return [title, "  " + shared + own]
    lines, painted, left = textwrap.wrap(shared + own, max(20, width - 2), drop_whitespace=False), [], len(shared)
    for line in lines:  # only what is its own is coloured, wherever the lines break
        before, after = line[: max(0, left)], line[max(0, left) :]
        left -= len(line)
        painted.append(("  " + before + palette("chosen", after)).rstrip(" "))
    return [title, *painted]


def _table(comparison: Comparison, width: int | None, palette: Palette) -> list[str]:
    first, others = comparison.contenders[0], comparison.contenders[1:]
    rows = [
        (
            visible(each.name, on_one_line=True),
            _steps([run.parts_at for run in each.runs]),
            _share(each.changed),
            _distance(each.distance),
            0.0 if each.distance is None else each.distance.value,
        )
        for each in others
    ]
    rows.append((LUCK, _steps(comparison.luck.parts_at), _share(comparison.luck.changed), "0 (the same setting)", 0.0))
    sizes = [max(cells(row[column]) for row in [HEADER, *(each[:4] for each in rows)]) for column in range(4)]
    if width is not None:
        sizes[0] = max(8, min(sizes[0], width - sum(sizes[1:]) - 3 * len(GAP)))
    used = sum(sizes) + 4 * len(GAP)
    room = WIDEST if width is None else min(WIDEST, width - used)
    lines = [palette("head", _cut(_aligned(HEADER, sizes), width))]
    for *columns, distance in rows:
        drawn = palette("final", bar(distance, room)) if room >= NARROWEST else ""
        lines.append(_cut(_aligned(columns, sizes), width) if not drawn else f"{_padded(columns, sizes)}{GAP}{drawn}".rstrip())
    name = visible(first.name, on_one_line=True)
    notes = [
        "parts at step: the first token that differs, the median over the noises (luck: over pairs of them).",
        f"other token: after the same text, how often the same noise draws another token from this setting than from {name}; "
        f"luck: how often other noise draws another one from {name} itself. Near 0 a setting changes little, near luck as much as "
        "a new seed, above it more.",
        f"JS distance: Jensen-Shannon, 0 equal to 1 disjoint, the mean along {name}'s tokens (95 %, jackknife over noises).",
    ]
    told = notes if width is None else [line for note in notes for line in textwrap.wrap(note, max(20, width))]
    return [*lines, "", *(palette("faint", line) for line in told)]


def _most(contender: Contender, first: Contender, top: int, width: int | None, palette: Palette) -> list[str]:
    """Where one setting differs most from the first along its text on the first noise."""
    shown = [point for point in contender.points if point.sample == contender.runs[0].sample and point.distance > 0]
    shown = sorted(sorted(shown, key=lambda point: -point.distance)[:top], key=lambda point: point.step)
    if not shown:
        return []
    one, other = (visible(each.name, on_one_line=True) for each in (first, contender))
    rows = [("step", "token", "first", "this", "JS distance", "kept by both", "only first", "only this"), *map(_row, shown)]
    sizes = [max(cells(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [_aligned(row, sizes) for row in rows]
    title = f"where {other} differs most along {one}'s text"
    return ["", palette("head", _cut(title, width)), *(_cut("  " + line, width) for line in lines)]


def _row(point: Point) -> tuple[str, ...]:
    probs = (f"{point.first_prob:.2%}", f"{point.prob:.2%}")
    counts = (f"{point.kept:,}", f"{point.only_first:,}", f"{point.only_other:,}")
    return (str(point.step), label(point.text, point.id), *probs, f"{point.distance:.3f}", *counts)


def _steps(steps: Sequence[int | None]) -> str:
    """The median of steps in words, and how many never part."""
    if not steps:
        return "- (one noise)"
    ordered = sorted(math.inf if step is None else step for step in steps)
    half = len(ordered) // 2
    median = ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
    never = steps.count(None)
    if never == len(steps):
        return "never"
    words = "never" if math.isinf(median) else f"{median:g}"
    return f"{words} ({never} of {len(steps)} never)" if never else words


def _share(estimate: Estimate | None) -> str:
    return "-" if estimate is None else f"{estimate.value:.1%}"


def _distance(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    ends = "" if estimate.low is None else f" ({estimate.low:.3f} to {estimate.high:.3f})"
    return f"{estimate.value:.3f}{ends}"


def _padded(row: Sequence[str], sizes: Sequence[int]) -> str:
    return GAP.join(fit(cell, size) for cell, size in zip(row, sizes, strict=True))


def _aligned(row: Sequence[str], sizes: Sequence[int]) -> str:
    return _padded(row, sizes).rstrip()


def _cut(text: str, width: int | None) -> str:
    return text if width is None or cells(text) <= width else fit(text, width).rstrip()
