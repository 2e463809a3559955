"""A live panel under flowing text, on the same terminal. Knows neither what it shows nor what the text says.

The text stays where it would be without a panel: the cursor is always the text's own. A frame makes
room below it (index, cursor up), saves the cursor, writes its rows one by one and restores the cursor.
Before text goes down, blank rows are put in for it below its own; where it is not sure how far it goes,
the panel is erased row by row first. So no row of text is ever written twice, and the display is never
erased.
"""

from __future__ import annotations

from collections.abc import Callable

from gencli.cursor import Cursor

FEWEST_COLUMNS, FEWEST_ROWS = 20, 6
MOST_LINES = 12
KEPT_ROWS = 4  # rows of the window that are never the panel's
FEW_LINES = 6  # a panel of more lines takes less than half of the window: flowed anew at half the width, it still fits

INDEX, SAVE, RESTORE = "\x1bD", "\x1b7", "\x1b8"
NO_WRAP, WRAP = "\x1b[?7l", "\x1b[?7h"
NEXT_ROW, ERASE_REST, ERASE_ROW = "\r\x1b[B", "\x1b[K", "\x1b[B\x1b[2K"


class Panel:
    """Draws and removes the lines under the text.

    `write` takes one string and writes it to the terminal at once; `size` tells columns and rows.
    Whoever writes text to the same terminal calls `before` with it first.
    """

    def __init__(self, write: Callable[[str], None], size: Callable[[], tuple[int, int]]) -> None:
        self._write, self._size = write, size
        self._window = size()
        self._cursor = Cursor(self._window[0])
        self._shown = 0  # rows under the cursor's own that hold the panel

    def room(self) -> tuple[int, int]:
        """Columns and lines that a frame may fill now; (0, 0) where the window is too small."""
        self._follow_window()
        columns, rows = self._window
        if columns < FEWEST_COLUMNS or rows < FEWEST_ROWS:
            return 0, 0
        return columns - 1, min(MOST_LINES, rows - KEPT_ROWS, max(FEW_LINES, (rows - 1) // 2))

    def before(self, text: str) -> None:
        """Make way for a text that is written next."""
        self._follow_window()
        rows = self._cursor.advance(text)
        if not self._shown:
            return
        if rows is None or self._cursor.may_be_pending:
            # once the cursor is pending no escape sequence can leave it so: nothing may be left to erase
            self.erase()
        elif rows:
            self._push_down(rows)

    def draw(self, lines: list[str]) -> bool:
        """Show these lines, none wider than `room`; returns whether that was possible just now."""
        columns, most = self.room()
        if not columns or not lines or self._cursor.may_be_pending:
            return False
        lines = lines[:most]
        parts = [INDEX * len(lines), f"\x1b[{len(lines)}A", SAVE, NO_WRAP]
        parts += [f"{NEXT_ROW}{line}{ERASE_REST}" for line in lines]
        parts += [ERASE_ROW] * (self._shown - len(lines))
        parts += [WRAP, RESTORE]
        self._write("".join(parts))
        self._shown = len(lines)
        return True

    def erase(self) -> None:
        """Remove the panel; the cursor stays where the text left it."""
        self._follow_window()
        if self._shown:
            self._write(f"{ERASE_ROW * self._shown}\x1b[{self._shown}A")
            self._shown = 0

    def settle(self) -> None:
        """Remove the panel and go to the start of a row, for a line that is no part of the text."""
        self.erase()
        if not self._cursor.at_start:
            self._write("\n")
            self._cursor.start_row()

    def _push_down(self, rows: int) -> None:
        """Put so many blank rows between the text and the panel, which the text is about to take."""
        depth = self._shown + rows
        if depth < self._window[1]:
            self._write(f"{INDEX * depth}\x1b[{depth}A{SAVE}\x1b[B\x1b[{rows}L{RESTORE}")
        else:
            self.erase()

    def _follow_window(self) -> None:
        window = self._size()
        if window == self._window:
            return
        (old, _), (columns, rows), self._window = self._window, window, window
        if self._shown:
            # a narrower terminal may have flowed each row of the panel into several, or pushed them off its end
            lines = min(self._shown * -(-old // columns), max(rows - 1, 1))
            self._shown = 0
            self._write(f"{INDEX * lines}\x1b[{lines}A{ERASE_ROW * lines}\x1b[{lines}A")
        if columns != old:
            self._cursor.resize(columns)
