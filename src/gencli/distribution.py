"""A distribution as a table of lines: every candidate, raw and after every stage. Knows no terminal and no run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gencli.bar import PERCENT_CELLS, Palette, bar, cells, fit, label, percent, shares
from gencli.events import Candidate, StageReport

PLAIN_BAR = 10  # cells of every bar where no window limits them
LONGEST_BAR, SHORTEST_BAR = 16, 2  # cells of those of the first and the last column in a window
GAP = 2  # cells between columns
FIGURES = ("entropy, bits", "varentropy", "kept", "removed", "KL to raw, bits")


@dataclass(frozen=True)
class _Column:
    """One point of the pipeline: what stood there, in `head`, one cell a candidate, the others and the figures."""

    head: str
    probs: tuple[float, ...]
    report: StageReport | None  # None: before the first stage
    varentropy: float | None = None


@dataclass(frozen=True)
class _Sizes:
    """In cells: the label, each column's bar (0: none), each column as a whole; and the columns that fit, by their place."""

    label: int
    bars: tuple[int, ...]
    columns: tuple[int, ...]
    shown: tuple[int, ...]


def distribution_lines(
    candidates: Sequence[Candidate],
    stages: Sequence[StageReport],
    width: int | None,
    palette: Palette,
    *,
    raw_entropy: float | None = None,
    varentropies: Sequence[float] | None = None,
    chosen: int | None = None,
) -> list[str]:
    """The table: candidates with a number and a bar in each column, the others, and each stage's figures.

    `width` in cells, or None: nothing is abbreviated, and why a token was cut stands at the end of its
    line. A window leaves the bars to the first and the last column; a narrow one drops the bars, then
    the earlier stages. Where there are stages, the candidates carry `after`. `varentropies` are those of
    every column, in bits squared; `chosen` is the id of the token that comes next.
    """
    columns = [_Column("raw", tuple(candidate.raw_prob for candidate in candidates), None)]
    columns += [_Column(report.stage, tuple((c.after or ())[report.at] for c in candidates), report) for report in stages]
    if varentropies is not None:
        columns = [replace(column, varentropy=value) for column, value in zip(columns, varentropies, strict=True)]
    names = [("▸ " if candidate.id == chosen else "") + label(candidate.text, candidate.id) for candidate in candidates]
    sizes = _sizes(columns, names, width)
    columns = [columns[at] for at in sizes.shown]
    cut = [_cut(candidate, sizes.shown) for candidate in candidates]
    summed = [shares(column.probs) for column in columns]

    heads = (palette("head", fit(column.head, size)) for column, size in zip(columns, sizes.columns, strict=True))
    lines = [_joined(" " * sizes.label, heads)]
    for row, candidate in enumerate(candidates):
        parts = []
        for at, (column, size) in enumerate(zip(columns, sizes.columns, strict=True)):
            if candidate.removed_by and cut[row] <= at:
                parts.append(_gone(candidate.removed_by if cut[row] == at else "", size, palette))
            else:
                parts.append(_share(summed[at][0][row], column.probs[row], size, sizes.bars[at], palette, "final" if at else "raw"))
        name = fit(names[row], sizes.label)
        style = "removed" if candidate.removed_by else "chosen" if candidate.id == chosen else "none"
        line = _joined(palette(style, name), parts)
        lines.append(f"{line}  {candidate.because}" if width is None and candidate.because else line)
    others = [
        _share(points, points / 10000, size, length, palette, "faint", some)
        for (_, points, some), size, length in zip(summed, sizes.columns, sizes.bars, strict=True)
    ]
    lines += [_joined(palette("faint", fit("others", sizes.label)), others), ""]
    return lines + _figures(columns, sizes, raw_entropy, palette)


def _sizes(columns: Sequence[_Column], names: Sequence[str], width: int | None) -> _Sizes:
    widest, count = max(map(cells, (*names, *FIGURES))), len(columns)
    if width is None:
        size = PERCENT_CELLS + 1 + PLAIN_BAR
        return _Sizes(widest, (PLAIN_BAR,) * count, tuple(max(size, len(column.head)) for column in columns), tuple(range(count)))
    name = min(widest, max(width // 4, max(map(len, FIGURES))))
    fitting = min(max((width - name) // (GAP + PERCENT_CELLS), 2), count)
    shown = (0, *range(count - fitting + 1, count))  # the raw column, and the last ones
    ends = min(fitting, 2)
    length = min((width - name - fitting * (GAP + PERCENT_CELLS)) // ends - 1, LONGEST_BAR)
    bars = [0] * fitting
    if length >= SHORTEST_BAR:
        bars[0] = bars[-1] = length
    return _Sizes(name, tuple(bars), tuple(PERCENT_CELLS + (1 + bar if bar else 0) for bar in bars), shown)


def _cut(candidate: Candidate, shown: Sequence[int]) -> int:
    """The place, among the columns shown, of the first one in which the candidate is gone."""
    gone = len(shown) if candidate.removed_at is None else candidate.removed_at + 1  # the raw column comes first
    return next((at for at, column in enumerate(shown) if column >= gone), len(shown))


def _gone(stage: str, size: int, palette: Palette) -> str:
    """The cell of a removed token: by whom, in a word, in the column where it went; empty after that."""
    if not stage:
        return " " * size
    words = next(words for words in (f"cut by {stage}", stage, "cut") if len(words) <= size)
    return palette("stage", fit(words.rjust(PERCENT_CELLS), size))


def _share(points: int, prob: float, size: int, length: int, palette: Palette, style: str, some: bool = True) -> str:
    drawn = fit(bar(prob, length), size - PERCENT_CELLS - 1)
    return percent(points, some) + (" " + palette(style, drawn) if length else " " * (size - PERCENT_CELLS))


def _figures(columns: Sequence[_Column], sizes: _Sizes, raw_entropy: float | None, palette: Palette) -> list[str]:
    """The rows under the table: what each stage left and took."""
    rows: list[list[str]] = [[] for _ in FIGURES]
    for column in columns:
        report, spread = column.report, "" if column.varentropy is None else f"{column.varentropy:5.2f}"
        if report is None:
            figures = ("" if raw_entropy is None else f"{raw_entropy:5.2f}", spread, "", "", "")
        else:
            removed = percent(round(report.mass_removed * 10000), report.mass_removed > 0)
            figures = (f"{report.entropy:5.2f}", spread, f"{report.kept:>5}", removed, f"{report.kl:5.2f}")
        for row, figure in zip(rows, figures, strict=True):
            row.append(figure)
    return [
        _joined(palette("faint", fit(name, sizes.label)), (fit(figure, size) for figure, size in zip(row, sizes.columns, strict=True)))
        for name, row in zip(FIGURES, rows, strict=True)
        if any(row)
    ]


def _joined(name: str, parts: Iterable[str]) -> str:
    return (" " * GAP).join([name, *parts]).rstrip(" ")
