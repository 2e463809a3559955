"""Draws docs/img/bars.svg: a real run on a pseudo-terminal, as the person at it saw it. Knows no code of gencli."""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from html import escape
from itertools import groupby
from pathlib import Path

import pyte
from pyte.screens import Char

ROOT = Path(__file__).resolve().parent.parent
CELL_WIDTH, CELL_HEIGHT, MARGIN = 8.4, 18, 14
COMMAND = 'gencli generate --preset creative --top-p 0.8 --seed 2 "Once upon a time"'
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
PAPER, INK = "#16181d", "#d8dce4"
COLOURS = {
    "black": "#3b4048",
    "red": "#e06c75",
    "green": "#98c379",
    "brown": "#e5c07b",
    "blue": "#61afef",
    "magenta": "#c678dd",
    "cyan": "#56b6c2",
    "white": "#abb2bf",
    "brightblack": "#7a828e",
}
Row = list[Char]


def frames(command: list[str], columns: int, lines: int) -> list[list[Row]]:
    """The screen after each write of `command` to a terminal of that size."""
    screen = pyte.Screen(columns, lines)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    environment.pop("NO_COLOR", None)
    command = [str(Path(sys.executable).parent / command[0]), *command[1:]]
    stream.feed(f"$ {COMMAND}\r\n".encode())
    seen = []
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=ROOT):
        os.close(theirs)
        while data := read(ours):
            stream.feed(data)
            seen.append([[screen.buffer[y][x] for x in range(columns)] for y in range(lines)])
    os.close(ours)
    return seen


def worth(rows: list[Row]) -> tuple[bool, int, int]:
    """How much a screen shows: the panel of the last word, some tokens struck out and some not, much text."""
    lines = ["".join(char.data for char in row).rstrip() for row in rows]
    struck = sum(any(char.strikethrough for char in row) for row in rows)
    chosen = next((re.findall(r'"(.+?)"', line) for line in lines if line.startswith("▸")), [])
    rule = next((at for at, line in enumerate(lines) if line.startswith("── step")), 0)
    current = bool(chosen) and chosen[0].startswith(" ") and lines[rule - 1].endswith(chosen[0].strip())
    return current, -abs(struck - 3), rule


def read(descriptor: int) -> bytes:
    """What the terminal got next; nothing once the command is gone."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


def colour(name: str, default: str) -> str:
    return default if name == "default" else COLOURS.get(name, f"#{name}" if len(name) == 6 else default)


def drawn_row(row: Row, y: int) -> str:
    """One line of the screen: a text for each stretch of one style, and rectangles for the eighth blocks."""
    top = MARGIN + y * CELL_HEIGHT
    parts = []
    place = 0
    for _, group in groupby(row, key=lambda char: char._replace(data="█" if is_block(char) else "a")):
        chars = list(group)
        fore, back = colour(chars[0].fg, INK), colour(chars[0].bg, PAPER)
        if chars[0].reverse:
            fore, back = back, fore
        x = MARGIN + place * CELL_WIDTH
        width = len(chars) * CELL_WIDTH
        if back != PAPER:
            parts.append(f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="{CELL_HEIGHT}" fill="{back}"/>')
        if is_block(chars[0]):
            width = sum(0x2590 - ord(char.data) for char in chars) / 8 * CELL_WIDTH
            parts.append(f'<rect x="{x:.1f}" y="{top + 3}" width="{width:.1f}" height="{CELL_HEIGHT - 6}" fill="{fore}"/>')
        elif text := "".join(char.data for char in chars).rstrip():
            style = ' font-weight="bold"' if chars[0].bold else ""
            style += ' text-decoration="line-through"' if chars[0].strikethrough else ""
            lead = len(text) - len(text.lstrip())
            text = text.lstrip()
            place_of = f'x="{x + lead * CELL_WIDTH:.1f}" y="{top + 13}" textLength="{len(text) * CELL_WIDTH:.1f}"'
            parts.append(f'<text {place_of} fill="{fore}"{style}>{escape(text)}</text>')
        place += len(chars)
    return "".join(parts)


def is_block(char: Char) -> bool:
    return len(char.data) == 1 and "\u2588" <= char.data <= "\u258f"


def svg(rows: list[Row], title: str) -> str:
    width, height = 2 * MARGIN + len(rows[0]) * CELL_WIDTH, 2 * MARGIN + len(rows) * CELL_HEIGHT
    letters = f'font-family="{FONT}" font-size="14" xml:space="preserve"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" {letters}>'
    paper = f'<title>{escape(title)}</title><rect width="100%" height="100%" rx="8" fill="{PAPER}"/>'
    return "\n".join([head, paper, *(line for y, row in enumerate(rows) if (line := drawn_row(row, y))), "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--columns", type=int, default=88)
    parser.add_argument("--lines", type=int, default=22)
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "img" / "bars.svg")
    arguments = parser.parse_args()
    seen = frames(shlex.split(COMMAND), arguments.columns, arguments.lines)
    rows = max(seen, key=worth)
    while rows and all(char.data == " " for char in rows[-1]):
        rows.pop()
    arguments.into.parent.mkdir(parents=True, exist_ok=True)
    arguments.into.write_text(svg(rows, COMMAND), encoding="utf-8")


main()
