"""Where a terminal's cursor may stand after a text. Knows no terminal: it reckons with the text alone.

Terminals agree on the width of most characters and differ on the rest (joined emoji, marks, young
characters), so the cursor is a set of columns. A character that nobody disputes moves the set; a
disputed one widens it; a newline makes it one column again.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

TAB = 8
DISPUTED = -1
# alphabets whose letters fill one cell everywhere and whose marks fill none
_ONE_CELL = (
    (0xA1, 0x8FF),
    (0xE00, 0xEFF),
    (0x10A0, 0x10FF),
    (0x1E00, 0x1FFF),
    (0x2010, 0x2027),
    (0x2030, 0x205E),
    (0x20A0, 0x20BF),
    (0x2400, 0x2426),
)
_TWO_CELLS = (
    (0x3001, 0x30FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0xFF01, 0xFF60),
    (0x1F300, 0x1F64F),
    (0x1F680, 0x1F6FF),
    (0x1F900, 0x1F9FF),
)
_SKIN_TONES = range(0x1F3FB, 0x1F400)


@lru_cache(maxsize=4096)
def cells_of(character: str) -> int:
    """How many cells a character fills in every terminal: 0, 1, 2, or `DISPUTED`."""
    code = ord(character)
    if 0x20 <= code < 0x7F:
        return 1
    category = unicodedata.category(character)
    if category in ("Mn", "Me"):
        return 0 if unicodedata.combining(character) and any(low <= code <= high for low, high in _ONE_CELL) else DISPUTED
    if category[0] not in "LNPS" or code in _SKIN_TONES:
        return DISPUTED
    wide = unicodedata.east_asian_width(character) in "WF"
    if any(low <= code <= high for low, high in _ONE_CELL) and not wide:
        return 1
    return 2 if wide and any(low <= code <= high for low, high in _TWO_CELLS) else DISPUTED


class Cursor:
    """The columns at which the cursor may stand, in a row of `width` cells; it starts at the first.

    Bit i of `cells` says that i cells of the row may be filled. With all of them filled the cursor is
    pending: it stands on the last cell and wraps only when the next character comes.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.cells = 1
        self._line: int | None = 0  # cells since the last newline, where nothing was disputed
        self._resized = False

    @property
    def may_be_pending(self) -> bool:
        return bool(self.cells >> self.width)

    @property
    def at_start(self) -> bool:
        """Whether the cursor surely stands at the start of a row."""
        return self.cells == 1

    def start_row(self) -> None:
        """Something outside the text has moved the cursor to the start of a row."""
        self.cells, self._line = 1, 0

    def advance(self, text: str) -> int | None:
        """Follow a text; returns how many rows down it leads, or None where that is not sure.

        The text holds no control characters but newline and tab.
        """
        if text.isascii() and text.isprintable() and self.cells & (self.cells - 1) == 0 and self._line is not None:
            return self._advance_plainly(len(text))
        rows: int | None = 0
        joined = False  # after a disputed character the next ones may be merged into it, or be lost with it
        for character in text:
            moved: int | None = 1
            if character == "\n":
                self.start_row()
                joined = False
            elif character == "\t":
                moved = self._tab()
            else:
                width = DISPUTED if joined else cells_of(character)
                joined = width == DISPUTED
                moved = self._step(width)
            rows = None if rows is None or moved is None else rows + moved
        return rows

    def _advance_plainly(self, count: int) -> int:
        filled = self.cells.bit_length() - 1 + count
        rows = (filled - 1) // self.width if filled else 0
        self.cells = 1 << (filled - rows * self.width)
        self._line = (self._line or 0) + count
        return rows

    def _step(self, width: int) -> int | None:
        """One character; returns the rows it moves down, None where the possible columns differ in that."""
        before, full = self.cells, (2 << self.width) - 1
        pending, last = before >> self.width, (before >> (self.width - 1)) & 1
        one = ((before << 1) & full) | (pending << 1)
        # at the last cell a wide character wraps in most terminals and is cut off in some
        two = ((before << 2) & full) | ((pending | last) << 2) | (last << self.width)
        if width == 0 and not pending:
            return 0
        if width == 1 or (width == 2 and not last):
            self.cells = one if width == 1 else two
            self._line = None if self._line is None else self._line + width
            alone = before == 1 << self.width
            return 0 if not pending else 1 if alone else None
        # disputed; also a mark in the pending column, which some terminals carry over to the next row
        self.cells = two if width == 2 else before | one | two | pending
        self._line = None
        return None if pending or last else 0

    def _tab(self) -> int:
        """To the next stop, every eight cells; at most to the last cell, never onto the next row."""
        after = 0
        for column in range(self.width + 1):
            if self.cells >> column & 1:
                after |= 1 << min((column // TAB + 1) * TAB, self.width - 1)
        # a pending cursor may stay so; a resized terminal may have no stops where it grew
        self.cells = after | (self.cells & (1 << self.width)) | (1 << (self.width - 1) if self._resized else 0)
        self._line = None
        return 0

    def resize(self, width: int) -> None:
        """The window is `width` cells wide now. Some terminals cut rows off, some flow them anew, so both are possible."""
        old, self._resized = self.cells, True
        if self.at_start:
            self.width = width
            return
        cells = 1 << width  # pending, so that nobody relies on the rest before the text moves on
        for column in range(self.width + 1):
            if old >> column & 1:
                cells |= 1 << min(column, width - 1)
        if self._line:
            cells |= 1 << ((self._line - 1) % width + 1)
        self.width, self.cells = width, cells
