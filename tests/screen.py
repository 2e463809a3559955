"""A terminal that tests can look at: pyte, with scrollback, line ends as a terminal driver makes them, and honest resizing."""

from __future__ import annotations

import unicodedata
from itertools import islice

import pyte


class Screen(pyte.Screen):
    """A pyte screen whose rows keep their number when they scroll away.

    An honest one also does what pyte forgives and terminals do not: a pending cursor is pending no more
    once a sequence has moved it, a narrower window takes the cursor along, and so does a lower one.
    """

    def __init__(self, columns: int, lines: int, honest: bool = True) -> None:
        self.scrolled: list[dict[int, pyte.screens.Char]] = []
        self.honest = honest
        super().__init__(columns, lines)
        self._stream = pyte.Stream(self)
        self.titles: list[str] = []
        self.displays_erased = 0

    def set_title(self, param: str) -> None:
        self.titles.append(param)

    def erase_in_display(self, how: int = 0, *args: object, **kwargs: object) -> None:
        self.displays_erased += 1
        super().erase_in_display(how, *args, **kwargs)

    def put(self, text: str) -> None:
        """What a program writes, after the terminal driver has turned a newline into its two steps."""
        self._stream.feed(text.replace("\n", "\r\n"))

    def draw(self, data: str) -> None:
        """A mark at the start of a row combines with nothing; pyte would change the row above, where that is still seen."""
        while data and self.cursor.x == 0 and unicodedata.combining(data[0]):
            data = data[1:]
        if data:
            super().draw(data)

    def index(self) -> None:
        if self.cursor.y == self.lines - 1:
            self.scrolled.append(self.buffer[0])
        super().index()

    def cursor_up(self, count: int | None = None) -> None:
        super().cursor_up(count)
        if self.honest:
            self.cursor.x = min(self.cursor.x, self.columns - 1)

    def resize(self, lines: int | None = None, columns: int | None = None) -> None:
        """Fewer lines take the blank ones below the cursor first, then push the top ones into the scrollback."""
        fewer = self.lines - (lines or self.lines)
        if fewer > 0:
            while self.cursor.y >= self.lines - fewer:
                self.scrolled.append(self.buffer[0])
                for y in range(self.lines - 1):
                    self.buffer[y] = self.buffer[y + 1]
                self.buffer.pop(self.lines - 1, None)
                self.cursor.y -= 1
            for y in range(self.lines - fewer, self.lines):
                self.buffer.pop(y, None)
            self.lines -= fewer
        super().resize(lines, columns)
        for line in self.scrolled:  # cut like the rows that are still seen
            for x in [x for x in line if x >= self.columns]:
                del line[x]
        if self.honest:
            self.cursor.x = min(self.cursor.x, self.columns - 1)

    @property
    def row(self) -> int:
        """The number of the cursor's row, counted from the first row ever written."""
        return len(self.scrolled) + self.cursor.y

    def rows(self, start: int, stop: int) -> list[list[pyte.screens.Char]]:
        """The rows with these numbers, cell by cell, character and style."""
        here = len(self.scrolled)
        lines = [*islice(self.scrolled, start, stop), *(self.buffer[y - here] for y in range(max(start, here), stop))]
        return [[line[x] for x in range(self.columns)] for line in lines]

    def text(self) -> list[str]:
        """Every row as text, without the blanks at its end."""
        rows = self.rows(0, len(self.scrolled) + self.lines)
        return ["".join(cell.data for cell in row).rstrip(" ") for row in rows]
