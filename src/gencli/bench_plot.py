"""A measurement as curves: speed over rows and lengths, time over positions. Knows no terminal and no model: it is told how wide to be."""

from __future__ import annotations

from collections.abc import Callable

from gencli.bar import Palette
from gencli.bench_report import PIPE_WIDTH, heading, machine_lines, seconds, speed
from gencli.chart import Curve, chart
from gencli.measurement import Decode, Report

HEIGHT = 12  # lines of a plane
WIDEST = 100


def plot_lines(report: Report, width: int | None, palette: Palette) -> list[str]:
    """The report's curves, `width` columns wide (None: for a pipe), between the same lines as the table's."""
    lines = heading(report, width)

    def add(title: str, up: Callable[[float], str], *curves: Curve) -> None:
        drawn = chart(curves, min(width or PIPE_WIDTH, WIDEST), HEIGHT, lambda number: f"{number:,.0f}", up, palette)
        if drawn:
            lines.extend(["", palette("head", title[: width or PIPE_WIDTH].rstrip()), *drawn])

    if report.prefill:
        prefill = Curve("prefill", tuple((each.prompt_tokens, each.tokens_per_second) for each in report.prefill))
        add("prefill: tokens a second over the prompt's length", speed, prefill)
    if report.decode:
        lengths = dict.fromkeys(each.prompt_tokens for each in report.decode)
        add("decode: tokens a second over rows", speed, *(_over_rows(length, report.decode) for length in lengths))
    if report.no_cache:
        saved = [(each.prompt_tokens, each.seconds_with_cache, each.seconds_without_cache) for each in report.no_cache]
        with_cache = Curve("with the cache", tuple((length, has) for length, has, _ in saved))
        without = Curve("without", tuple((length, lacks) for length, _, lacks in saved))
        add(f"{report.no_cache[0].new_tokens} tokens after the prompt: seconds over its length", seconds, with_cache, without)
    if report.context:
        taken = Curve("measured", tuple((each.prompt_tokens, each.seconds_per_step) for each in report.context))
        limit = Curve("the limit", tuple((each.prompt_tokens, each.share_of_limit * each.seconds_per_step) for each in report.context))
        add("a token: seconds over the positions in the cache", seconds, taken, limit)
    return [*lines, "", *machine_lines(report, width)]


def _over_rows(length: int, decodes: tuple[Decode, ...]) -> Curve:
    return Curve(f"after {length:,} tokens", tuple((each.rows, each.tokens_per_second) for each in decodes if each.prompt_tokens == length))
