"""One step as the lines of a frame: the likeliest tokens, the drawn one, entropy and stages. Knows no terminal and no run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gencli.bar import PERCENT_CELLS, Palette, bar, cells, fit, label, percent, shares
from gencli.events import Candidate, Token

PLAIN_BAR = 20  # cells of a bar where no window limits it
TWO_BARS = 54  # from so many columns on the raw probability has a bar of its own
RAW_NUMBER = 34  # and from so many on a number
LINE_TOKENS, LINE_LABEL, LINE_BAR = 4, 16, 10  # of a step told in one line: tokens, and cells
SMALLEST_FRAME = 4  # a frame of fewer lines has no rule and no foot
ENTROPY_ROW = 8  # one of so many may use two for its foot


@dataclass(frozen=True)
class _Columns:
    """How many cells each part of a row has; 0: it is not shown."""

    label: int
    raw: int  # the number of the raw probability
    raw_bar: int
    final: int  # the number and the bar of the final probability, or the stage that removed the token

    @classmethod
    def fitting(cls, width: int | None, labels: Sequence[str]) -> _Columns:
        """For a window of `width` cells; without one, nothing is abbreviated."""
        if width is None:
            return cls(max(map(cells, labels)), PERCENT_CELLS, PLAIN_BAR, PERCENT_CELLS + 1 + PLAIN_BAR)
        label = min(max(width // 4, 8), 20)
        rest = width - 2 - label
        if width >= TWO_BARS:
            length = (rest - 2 * PERCENT_CELLS - 5) // 2  # both bars on one scale
            return cls(label, PERCENT_CELLS, length, PERCENT_CELLS + 1 + length)
        if width >= RAW_NUMBER:
            return cls(label, PERCENT_CELLS, 0, rest - PERCENT_CELLS - 3)
        return cls(label, 0, 0, rest - 1)

    def before_final(self) -> int:
        """How many cells stand before the final column."""
        return 2 + self.label + sum(1 + part for part in (self.raw, self.raw_bar) if part) + (2 if self.raw else 1)


@dataclass(frozen=True)
class _Row:
    label: str
    raw_prob: float
    prob: float
    raw: str  # per cents, as text
    final: str
    chosen: bool = False
    removed_by: str | None = None


def step_lines(token: Token, width: int | None, most: int | None, palette: Palette, title: str = "") -> list[str]:
    """One step as at most `most` lines of at most `width` cells (None: as many as it takes).

    A rule with the title, the likeliest tokens and the drawn one, "others", entropy and stages; in a
    small window first the stages go, then the rule. The token must have its candidates.
    """
    lines = most if most is not None else len(token.candidates or ()) + 4
    framed = lines >= SMALLEST_FRAME
    foot = _foot(token, width, lines >= ENTROPY_ROW) if framed else []
    rows = _rows(token.candidates or (), token.id, max(lines - 1 - framed - len(foot), 1))
    columns = _Columns.fitting(width, [row.label for row in rows])
    body = [_row(row, columns, palette) for row in rows]
    if not framed:
        return body[:lines]
    return [palette("faint", _rule(title, columns, width)), *body, *(palette("faint", line) for line in foot)]


def step_line(token: Token, width: int | None, palette: Palette, title: str = "") -> str:
    """One step as one line: the drawn token with its bar, as many of the likeliest as fit, and the others."""
    before = f"{title:>8}  " if title else ""
    if not token.candidates:
        return before + palette("chosen", f"▸ {label(token.text, token.id)}")
    for count in range(LINE_TOKENS, -1, -1):
        rows = _rows(token.candidates, token.id, max(count, 1))
        drawn = next((row for row in rows if row.chosen), rows[0])
        name = fit(drawn.label, LINE_LABEL if width is not None else max(LINE_LABEL, cells(drawn.label)))
        length = fit(bar(drawn.prob, LINE_BAR), LINE_BAR)
        rest = "".join(f"  {row.label} {row.final.strip()}" for row in rows if count and row is not drawn and not row.removed_by)
        if width is None or cells(f"{before}▸ {name} {drawn.final} {length}{rest}") <= width:
            break
    parts = [palette("faint", before), palette("chosen", f"▸ {name} "), drawn.final, " ", palette("chosen", length), palette("faint", rest)]
    return "".join(parts)


def _rows(candidates: Sequence[Candidate], drawn: int, count: int) -> list[_Row]:
    """The first `count` candidates, the drawn one always among them, and the others."""
    shown = list(candidates[:count])
    if all(candidate.id != drawn for candidate in shown):
        shown[-1:] = [candidate for candidate in candidates[count:] if candidate.id == drawn] or shown[-1:]
    raw, raw_rest, raw_left = shares([candidate.raw_prob for candidate in shown])
    final, rest, left = shares([candidate.prob for candidate in shown])
    rows = [
        _Row(
            label(candidate.text, candidate.id),
            candidate.raw_prob,
            candidate.prob,
            percent(raw[at]),
            percent(final[at]),
            candidate.id == drawn,
            candidate.removed_by,
        )
        for at, candidate in enumerate(shown)
    ]
    return [*rows, _Row("others", raw_rest / 10000, rest / 10000, percent(raw_rest, raw_left), percent(rest, left))]


def _row(row: _Row, columns: _Columns, palette: Palette) -> str:
    style = "chosen" if row.chosen else "removed" if row.removed_by else "faint" if row.label == "others" else ""
    label = fit(row.label, columns.label)
    parts = [palette("chosen", "▸ ") if row.chosen else "  ", palette(style, label) if style else label]
    if columns.raw:
        parts.append(f" {row.raw}")
    if columns.raw_bar:
        parts.append(" " + palette("raw", fit(bar(row.raw_prob, columns.raw_bar), columns.raw_bar)))
    parts.append("  " if columns.raw else " ")
    if row.removed_by:
        words = f"cut by {row.removed_by}"
        words = words if len(words) <= columns.final else row.removed_by
        parts.append(palette("stage", fit(words, min(columns.final, len(words)))))
    else:
        length = columns.final - PERCENT_CELLS - 1
        parts.append(palette("chosen", row.final) if row.chosen else row.final)
        parts.append(" " + palette("chosen" if row.chosen else "final", bar(row.prob, length)) if length > 0 else "")
    return "".join(parts).rstrip(" ")


def _rule(title: str, columns: _Columns, width: int | None) -> str:
    """A line with the title at its left and the headings over their columns.

    It ends soon after the last one: some terminals flow long lines anew when the window gets narrower.
    """
    at_final = columns.before_final()
    rule = f"── {title} " if title else ""
    for at, heading in ((columns.label + 3, "raw" if columns.raw else ""), (at_final, "final")):
        if heading and cells(rule) < at:
            rule += "─" * (at - 1 - cells(rule)) + f" {heading} "
    rule += "──"
    return rule if width is None or cells(rule) <= width else fit(rule, width)


def _foot(token: Token, width: int | None, may_be_two: bool) -> list[str]:
    """The entropy and the stages: in one line where they fit, in two where they may, else shortened."""
    measured = token.raw_entropy is not None and token.entropy is not None
    bits = f"{token.raw_entropy:.2f} → {token.entropy:.2f} bits" if measured else ""
    stages = [(f"{report.stage} {report.kept} left" if report.mass_removed > 0 else report.stage) for report in token.stages or ()]
    filters = [f"{report.stage} {report.kept}" for report in token.stages or () if report.mass_removed > 0]
    lines = [part for part in ("entropy " * measured + bits, " › ".join(stages)) if part]
    together = "  " + " · ".join(lines)
    if width is None or cells(together) <= width:
        return [together]
    if not may_be_two:
        lines = [" · ".join(part for part in (bits, " › ".join(filters or stages)) if part)]
    return [fit(f"  {line}", width).rstrip(" ") for line in lines]
