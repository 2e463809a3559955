"""Whether a pattern out of a file could keep a backtracking engine busy: such patterns are refused unrun. Knows no engine.

A pattern passes if every repeat is of a single character or a fixed text, and no alternative holds more than two
unlimited repeats, nor anything that must follow the second. Then a failed match costs no more than the text is
long. All patterns of published tokenizers that we know of are such.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LONGEST = 4000  # characters; published ones have up to 600
_MANY = 64  # times; more counts as unlimited
_LOOPS, _OPTIONS = 2, 8  # the most in one alternative
_DEEPEST = 20
_COUNT = re.compile(r"\{(\d{0,6})(,?)(\d{0,6})\}")
_ESCAPE = re.compile(r"\\(?:[pP]\{\^?\w{1,40}\}|x\{[0-9a-fA-F]{1,8}\}|x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{4}|[^1-9kgKX])", re.DOTALL)
_OPENING = re.compile(r"\((?:\?(?:[imsx-]{0,4}:|=|!|<=|<!|>))?")
_LINE_BREAK = r"(?:\r?\n)"  # often repeated, and only one way to read it
_WIDTHLESS = ("(?=", "(?!", "(?<=", "(?<!")


class _Refused(Exception):
    """Says what of the pattern is refused."""


@dataclass(frozen=True)
class _Shape:
    """Of a part: its unlimited repeats, its optional pieces, whether something must follow the last repeat, whether
    it is a single character, whether it is a fixed number of them without a choice."""

    loops: int = 0
    options: int = 0
    followed: bool = False
    single: bool = False
    fixed: bool = True


def objection(pattern: str) -> str | None:
    """Why a pattern is refused, as the end of a sentence; None for one that may run."""
    if len(pattern) > LONGEST:
        return f"has {len(pattern):,} characters"
    try:
        scan = _Scan(pattern.replace(_LINE_BREAK, "(?:\\n)"))
        scan.alternatives(0)
        if scan.at < len(scan.pattern):
            raise _Refused(f"has a bracket too many at character {scan.at}")
    except _Refused as refused:
        return str(refused)
    return None


def patterns(value: Any, depth: int = 0) -> Iterator[str]:
    """Every {"Regex": pattern} in a JSON value."""
    if depth > 100:
        return
    if isinstance(value, dict):
        if isinstance(found := value.get("Regex"), str):
            yield found
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from patterns(each, depth + 1)


class _Scan:
    def __init__(self, pattern: str) -> None:
        self.pattern, self.at = pattern, 0

    def alternatives(self, depth: int) -> _Shape:
        """Up to the group's end, or the pattern's."""
        if depth > _DEEPEST:
            raise _Refused(f"has groups {depth} deep")
        shapes = [self._sequence(depth)]
        while self._take("|"):
            shapes.append(self._sequence(depth))
        alone = len(shapes) == 1
        return _Shape(
            max(shape.loops for shape in shapes),
            max(shape.options for shape in shapes),
            any(shape.followed for shape in shapes),
            alone and shapes[0].single,
            alone and shapes[0].fixed,
        )

    def _sequence(self, depth: int) -> _Shape:
        loops = options = pieces = 0
        followed, single, fixed = False, True, True
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            inner, optional = self._piece(depth)
            pieces += 1
            if inner.loops:
                followed = inner.followed
            elif not optional and loops:
                followed = True
            loops, options = loops + inner.loops, options + inner.options
            single, fixed = single and inner.single, fixed and inner.fixed
            if loops > _LOOPS or options > _OPTIONS:
                raise _Refused(f"has more than {_LOOPS} unlimited repeats or {_OPTIONS} optional parts in a row")
            if loops == _LOOPS and followed:
                raise _Refused("has something that must follow two unlimited repeats")
        return _Shape(loops, options, followed, single and pieces == 1, fixed)

    def _piece(self, depth: int) -> tuple[_Shape, bool]:
        """A part with how often it may come, and whether it may be left out or has no width."""
        start = self.at
        shape, widthless = self._atom(depth)
        least, most = self._times()
        if (least, most) == (1, 1):
            return shape, widthless
        if most > 1 and not (shape.single or shape.fixed):
            raise _Refused(f"repeats what is itself of several lengths at character {start}")
        if most > _MANY or least > _MANY:
            return _Shape(shape.loops + 1 + (most > 2 * _MANY), shape.options, False, False, False), least == 0
        varies = least != most
        return _Shape(shape.loops, shape.options + varies, shape.followed, False, shape.fixed and not varies), least == 0

    def _atom(self, depth: int) -> tuple[_Shape, bool]:
        character = self.pattern[self.at]
        if character == "(":
            opening = _OPENING.match(self.pattern, self.at)
            if opening is None or self.pattern.startswith("?", opening.end()):
                raise _Refused(f"has a group of an unknown kind at character {self.at}")
            self.at = opening.end()
            shape = self.alternatives(depth + 1)
            if not self._take(")"):
                raise _Refused("has a bracket that is not closed")
            return shape, opening[0] in _WIDTHLESS
        if character == "[":
            self._class(depth)
        elif character == "\\":
            self._escape()
        elif character in "*+?":
            raise _Refused(f"repeats nothing at character {self.at}")
        else:
            self.at += 1
            if character in "^$":
                return _Shape(), True
        return _Shape(single=True), False

    def _class(self, depth: int) -> None:
        """Past [...], in which classes may stand."""
        if depth > _DEEPEST:
            raise _Refused(f"has classes {depth} deep")
        self.at += 1
        self._take("^")
        first = True
        while not self._take("]") or first:
            if self.at >= len(self.pattern):
                raise _Refused("has a bracket that is not closed")
            if self.pattern[self.at] == "[" and not self.pattern.startswith("[:", self.at):
                self._class(depth + 1)
            elif self.pattern[self.at] == "\\":
                self._escape()
            else:
                self.at += 1
            first = False

    def _escape(self) -> None:
        escape = _ESCAPE.match(self.pattern, self.at)
        if escape is None:
            raise _Refused(f"refers back, or has an unknown escape, at character {self.at}")
        self.at = escape.end()

    def _times(self) -> tuple[int, int]:
        """(at least, at most) of the repeats that stand here, one behind another: a{1,3}+ is a repeat of a repeat."""
        least, most = 1, 1
        limits = {"*": (0, _MANY + 1), "+": (1, _MANY + 1), "?": (0, 1)}
        while self.at < len(self.pattern):
            count = _COUNT.match(self.pattern, self.at)
            if count and (count[1] or count[3]):
                low = int(count[1] or 0)
                high = int(count[3]) if count[3] else _MANY + 1 if count[2] else low
                self.at = count.end()
                if not self._take("?") and self._take("+"):  # here no possessive count, but a repeat of it
                    high = 2 * _MANY + 1 if low != high else _MANY + 1
            elif self.pattern[self.at] in limits:
                low, high = limits[self.pattern[self.at]]
                self.at += 1
                self._take("?") or self._take("+")
            else:
                return least, most
            if most > 1 and high > 1:
                raise _Refused(f"repeats a repeat at character {self.at}")
            least, most = least * low, max(most, high)
        return least, most

    def _take(self, character: str) -> bool:
        taken = self.pattern.startswith(character, self.at)
        self.at += taken
        return taken
