"""How varied settings are as lines: a block of bars a figure, the interval shaded. Knows no terminal and no model."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gencli.bar import Palette, bar, cells, fit, quote
from gencli.terminal import visible

if TYPE_CHECKING:
    from gencli.diversity import Measured, Survey
    from gencli.variety import Estimate

NARROWEST, WIDEST = 6, 40  # cells of a bar; with less room there is none
SHADE = "▒"
GAP = "  "
FIGURES: tuple[tuple[str, str, Callable[[Measured], Estimate | None]], ...] = (
    ("unique", "unique texts", lambda each: each.variety.unique),
    ("distinct_1", "distinct-1: different tokens", lambda each: each.variety.distinct[0]),
    ("distinct_2", "distinct-2: different pairs", lambda each: each.variety.distinct[1]),
    ("distinct_3", "distinct-3: different triples", lambda each: each.variety.distinct[2]),
    ("loops", "texts that run into a loop", lambda each: each.variety.loops),
    ("entropy", "mean entropy, bits a token", lambda each: each.variety.entropy),
)
NOTE = "In brackets and shaded: 95 % intervals; of unique texts and loops Wilson's, of the others the jackknife's over the samples."


def survey_lines(survey: Survey, width: int | None, palette: Palette) -> list[str]:
    """The whole survey, `width` columns wide (None: for a pipe, where no name is cut)."""
    names = [visible(each.name, on_one_line=True) for each in survey.settings]
    label = max(map(cells, names))
    if width is not None:
        label = min(label, max(8, width // 3))
    plural = "s" * (survey.samples > 1)
    lines = [_cut(f"{survey.samples} sample{plural} a setting · seed {survey.seed} · {quote(survey.prompt)}", width)]
    for key, title, figure in FIGURES:
        estimates = [figure(each) for each in survey.settings]
        rows = zip(names, estimates, strict=True)
        most = 1.0 if key != "entropy" else max((each.high or each.value for each in estimates if each is not None), default=1.0) or 1.0
        lines += ["", palette("head", _cut(title, width))]
        lines += [_row(name, estimate, label, most, key, width, palette) for name, estimate in rows]
    lines += ["", palette("head", _cut("how they ended", width))]
    lines += [_cut(f"  {fit(name, label)}{GAP}{_endings(each)}", width) for name, each in zip(names, survey.settings, strict=True)]
    return [*lines, "", *([palette("faint", NOTE)] if width is None else [palette("faint", line) for line in _wrapped(NOTE, width)])]


def survey_csv(survey: Survey) -> str:
    """A line a setting: its name, a column for each knob that varies, its figures with the ends of their intervals."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    varied = list(dict.fromkeys(key for each in survey.settings for key in each.varied))
    ends = [column for key, _, _ in FIGURES for column in (key, f"{key}_low", f"{key}_high")]
    writer.writerow(["setting", *varied, "pipeline", "seed", "samples", "tokens", *ends])
    for each in survey.settings:
        figures = [figure(each) for _, _, figure in FIGURES]
        numbers = [
            number for one in figures for number in (("", "", "") if one is None else (one.value, _blank(one.low), _blank(one.high)))
        ]
        knobs = [each.varied.get(key, "") for key in varied]
        writer.writerow([each.name, *knobs, each.pipeline, survey.seed, each.variety.samples, each.variety.tokens, *numbers])
    return text.getvalue()


def _row(name: str, estimate: Estimate | None, label: int, most: float, key: str, width: int | None, palette: Palette) -> str:
    if estimate is None:
        return _cut(f"  {fit(name, label)}{GAP}      - (no text is that long)", width)
    value, between = _numbers(estimate, key)
    line = f"  {fit(name, label)}{GAP}{value}{GAP}{between}"
    room = WIDEST if width is None else min(WIDEST, width - cells(line) - len(GAP))
    if room < NARROWEST:
        return _cut(line.rstrip(), width)
    low, high = (estimate.value, estimate.value) if estimate.low is None or estimate.high is None else (estimate.low, estimate.high)
    solid = bar(low / most, room)
    shaded = SHADE * (round(high / most * room) - len(solid))
    return f"{line}{GAP}{palette('final', solid)}{shaded}".rstrip()


def _numbers(estimate: Estimate, key: str) -> tuple[str, str]:
    """The value and its interval in words, of one width in a block."""
    scale, digits = (1, 2) if key == "entropy" else (100, 1)
    value = f"{estimate.value * scale:6.{digits}f}" + (" %" if scale == 100 else "")
    if estimate.low is None or estimate.high is None:
        return value, " " * 16
    return value, f"({estimate.low * scale:.{digits}f} to {estimate.high * scale:.{digits}f})".ljust(16)


def _endings(each: Measured) -> str:
    parts = [f"{count} {reason.replace('_', ' ')}" for reason, count in each.variety.endings.items()]
    return ", ".join([*parts, f"{each.variety.tokens:,} tokens"])


def _blank(number: float | None) -> float | str:
    return "" if number is None else number


def _cut(text: str, width: int | None) -> str:
    return text if width is None or cells(text) <= width else fit(text, width)


def _wrapped(text: str, width: int) -> Sequence[str]:
    import textwrap

    return textwrap.wrap(text, max(NARROWEST, width))
