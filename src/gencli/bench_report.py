"""A measurement as the lines of a table, with bars. Knows no terminal and no model: it is told how wide to be."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from gencli.bar import Palette, bar
from gencli.measurement import Decode, Prefill, Report, Start, Trade

PIPE_WIDTH = 100  # columns where there is no terminal to ask
GAP = "  "
NARROWEST, WIDEST = 6, 40  # cells of a bar; with less room there is none
NOTE = 16  # columns before a note
SHADE = "░"


def report_lines(report: Report, width: int | None, palette: Palette) -> list[str]:
    """The whole report, `width` columns wide (None: for a pipe)."""
    columns = width or PIPE_WIDTH
    lines = heading(report, width)
    if not (report.no_cache or report.context):
        lines += _start(report.start, columns, palette)
        lines += _prefill(report.prefill, columns, palette)
        lines += _decode(report.decode, columns, palette)
    if report.no_cache:
        lines += _trade(report.no_cache, width, palette)
    if report.context:
        lines += _growth(report.context, columns, palette)
    return [*lines, "", *machine_lines(report, width)]


def heading(report: Report, width: int | None) -> list[str]:
    """What was measured, and how often."""
    runs = f"medians of {report.repeat} run{'s' * (report.repeat > 1)}, the start once"
    return _wrapped(f"{report.checkpoint['name']}: {report.precision} on {report.device}, {_threads(report.threads)}; {runs}", width)


def _start(start: Start, columns: int, palette: Palette) -> list[str]:
    parts = {
        "the process, Python": start.process,
        "importing torch": start.torch,
        "tokenizer": start.tokenizer,
        "opening and building the model": start.model,
        f"prefill of {_count(start.prompt_tokens)}": start.prefill,
        "choosing the token": start.choice,
    }
    rows = [((f"  {name}", seconds(value)), value) for name, value in parts.items()]
    return _block(
        ("time to first token", seconds(start.total)), [*rows, (("the step after it", seconds(start.step)), 0.0)], columns, palette
    )


def _prefill(prefills: Sequence[Prefill], columns: int, palette: Palette) -> list[str]:
    rows = [
        ((_count(each.prompt_tokens), seconds(each.seconds), speed(each.tokens_per_second)), each.tokens_per_second) for each in prefills
    ]
    return _block(("prefill of", "takes", "tokens/s"), rows, columns, palette)


def _decode(decodes: Sequence[Decode], columns: int, palette: Palette) -> list[str]:
    rows = [
        (
            (_count(each.prompt_tokens), str(each.rows), seconds(each.seconds_per_step), _share(each), speed(each.tokens_per_second)),
            each.tokens_per_second,
        )
        for each in decodes
    ]
    return _block(("decode after", "rows", "a step", "of limit", "tokens/s"), rows, columns, palette)


def _growth(decodes: Sequence[Decode], columns: int, palette: Palette) -> list[str]:
    first = decodes[0].seconds_per_step
    rows = [
        (
            (
                _count(each.prompt_tokens),
                size(each.cache_bytes_per_step),
                _share(each),
                f"{each.seconds_per_step / first:.2f} x",
                seconds(each.seconds_per_step),
            ),
            each.seconds_per_step,
        )
        for each in decodes
    ]
    return _block(("in the cache", "reads of it", "of limit", "to the first", "a token"), rows, columns, palette)


def _trade(trades: Sequence[Trade], width: int | None, palette: Palette) -> list[str]:
    longest = max(max(each.seconds_without_cache, each.seconds_with_cache) for each in trades)
    header = ("prompt", "with cache", "without", "saved", "cache")
    cells = [
        (
            _count(each.prompt_tokens),
            seconds(each.seconds_with_cache),
            seconds(each.seconds_without_cache),
            seconds(each.seconds_saved),
            size(each.cache_bytes),
        )
        for each in trades
    ]
    lines = _aligned([header, *cells])
    room = _room(lines, width or PIPE_WIDTH)
    drawn = [palette("head", lines[0])]
    for line, each in zip(lines[1:], trades, strict=True):
        solid = bar(each.seconds_with_cache / longest, room)
        more = SHADE * (round(each.seconds_without_cache / longest * room) - len(solid))
        drawn.append(f"{line}{GAP}{palette('final', solid)}{more}".rstrip())
    bars = f"; bars: with the cache, {SHADE} without" if room else ""
    note = f"{trades[0].new_tokens} tokens after the prompt, prefill included{bars}"
    return ["", *_wrapped(note, width), *drawn]


def machine_lines(report: Report, width: int | None) -> list[str]:
    """Memory and bandwidth in words; only a terminal has them wrapped."""
    memory, bandwidth = report.memory, report.bandwidth
    held = f"weights {size(memory.weight_bytes)}, cache {size(memory.largest_cache_bytes)}"
    if memory.before_model_bytes is not None:
        held += f", Python and torch {size(memory.before_model_bytes)}"
    notes = {"peak memory": f"{'not told here' if memory.peak_bytes is None else size(memory.peak_bytes)}: {held}"}
    if memory.device_peak_bytes is not None:
        notes["on the device"] = size(memory.device_peak_bytes)
    threads = f"{_threads(bandwidth.threads)}, " if report.device == "cpu" else ""
    notes["read bandwidth"] = f"{size(bandwidth.bytes_per_second)}/s ({threads}buffer of {size(bandwidth.buffer_bytes)})"
    if report.decode or report.context:
        notes["of limit"] = "what reading weights and cache at this bandwidth takes, over what a step takes"
    lines = []
    for name, text in notes.items():
        first, *more = _wrapped(text, width and width - NOTE)
        lines += [f"{name:{NOTE}}{first}", *(f"{'':{NOTE}}{line}" for line in more)]
    return lines


def _wrapped(text: str, width: int | None) -> list[str]:
    """The text in lines of `width` columns; without a terminal nothing is wrapped."""
    return [text] if width is None else textwrap.wrap(text, max(NARROWEST, width))


def _threads(number: int) -> str:
    return f"{number} thread{'s' * (number > 1)}"


def _block(header: tuple[str, ...], rows: Sequence[tuple[tuple[str, ...], float]], columns: int, palette: Palette) -> list[str]:
    """A blank line, a header, and aligned rows, each with a bar of its number against the largest."""
    most = max(number for _, number in rows) or 1.0
    lines = _aligned([header, *(cells for cells, _ in rows)])
    room = _room(lines, columns)
    drawn = [f"{line}{GAP}{palette('final', bar(number / most, room))}".rstrip() for line, (_, number) in zip(lines[1:], rows, strict=True)]
    return ["", palette("head", lines[0].rstrip()), *drawn]


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Numbers to the right; names, if the first column holds names, to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numbers = rows[-1][0][:1].isdigit()
    return [
        GAP.join(
            cell.rjust(wide) if place or numbers else cell.ljust(wide) for place, (cell, wide) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _room(lines: Sequence[str], columns: int) -> int:
    """How many cells are left for a bar beside these lines."""
    room = min(WIDEST, columns - len(lines[0]) - len(GAP))
    return room if room >= NARROWEST else 0


def _count(tokens: int) -> str:
    return f"{tokens:,} token{'s' * (tokens > 1)}"


def speed(number: float) -> str:
    """Tokens a second in three digits or more."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _share(decode: Decode) -> str:
    return f"{100 * decode.share_of_limit:.0f} %"


def seconds(number: float) -> str:
    """Seconds in words, three digits: 13.5 ms."""
    return _scaled(number, (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)))


def size(number: float) -> str:
    """Bytes in words, three digits: 17.5 MB."""
    return _scaled(number, (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1.0)))


def _scaled(number: float, units: Sequence[tuple[str, float]]) -> str:
    """In the largest unit that the number reaches, else in the last."""
    unit, scale = next((each for each in units if abs(number) >= each[1]), units[-1])
    value = number / scale
    digits = max(0, 3 - len(str(int(abs(value)))))  # three in all
    return f"{value:.{digits}f} {unit}"
