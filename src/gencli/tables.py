"""Rows of text -> aligned columns, plain enough for a pipe. Knows no command and no colour."""

from __future__ import annotations

import shutil
import textwrap
import unicodedata
from collections.abc import Sequence

from gencli.terminal import Output, visible

GAP = "  "
NARROWEST = 20  # columns a wrapped last column needs to be readable


def table(header: Sequence[str], rows: Sequence[Sequence[object]], width: int | None = None) -> str:
    """A header and rows as lines; every cell on one line, its control characters made visible.

    With a `width` (columns of a terminal) the last column is wrapped to it; without, nothing is.
    """
    cells = [[visible(str(cell), on_one_line=True) for cell in row] for row in (header, *rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    start = sum(widths[:-1]) + len(GAP) * (len(widths) - 1)
    lines = []
    for row in cells:
        padded = [cell + " " * (columns - _width(cell)) for cell, columns in zip(row[:-1], widths, strict=False)]
        wrap = width is not None and width - start >= NARROWEST
        last = textwrap.wrap(row[-1], (width or 0) - start, break_long_words=False, break_on_hyphens=False) if wrap else [row[-1]]
        lines.append(GAP.join([*padded, last[0] if last else ""]).rstrip())
        lines += [" " * start + more for more in last[1:]]
    return "\n".join(lines) + "\n"


def width_of(output: Output) -> int | None:
    """The columns of the terminal that an output is, or None for a pipe or a file."""
    return shutil.get_terminal_size().columns if output.terminal else None


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else not unicodedata.combining(each) for each in text)
