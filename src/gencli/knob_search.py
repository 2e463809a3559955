"""The nearest value of one knob with which something holds. Knows knobs and a question, nothing of what is asked.

Assumed is that on the way from the present value outward, the answer turns from no to yes once; whoever
asks verifies what is found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gencli.errors import UsageError
from gencli.stages import Knob

Question = Callable[[Any], bool]

STATIONS = (1 / 64, 1 / 16, 1 / 4, 1 / 2, 3 / 4, 7 / 8, 31 / 32, 1)  # of the way to an end, where it is tried first
DOUBLINGS = 24  # steps outward where a number has no end
FINE = 1e-3  # so much of the change is left to chance ...
SHORT = 0.02  # ... and so much more may be added for a number with fewer digits
MOST_HALVINGS = 60


def nearest(knob: Knob, current: Any, holds: Question, most: int, more: Sequence[Any] = ()) -> Any:
    """The value nearest to `current` with which `holds`, or None.

    What turns the stage off comes last. A whole number without an upper end is tried up to about
    `most`. Of a collection entries are left out, as few as can be; into one of words some of `more` are put, where that does it.
    """
    if knob.kind in ("int", "float"):
        found = [value for way in (1, -1) if (value := _outward(knob, current, way, holds, most)) is not None]
        return min(found, key=lambda value: (value == knob.neutral, abs(value - current)), default=None)
    if knob.kind == "choice":
        return next((choice for choice in knob.choices if choice != current and holds(choice)), None)
    fewer = _fewer(current, holds) if isinstance(knob.neutral, tuple) else None
    extended = _extended(current, more, holds) if knob.kind == "words" and current and not fewer else None
    return fewer if extended is None else extended


def _fewer(entries: tuple[Any, ...], holds: Question) -> tuple[Any, ...] | None:
    """The entries without those that stand in the way; None where without any it does not hold."""
    if not holds(()):
        return None
    kept: tuple[Any, ...] = ()
    for entry in entries:
        if holds((*kept, entry)):
            kept = (*kept, entry)
    return kept


def _extended(entries: tuple[Any, ...], more: Sequence[Any], holds: Question) -> tuple[Any, ...] | None:
    """The entries and as few of `more` as it takes; None where all of them do not do."""
    needed = list(dict.fromkeys(more))
    if not holds((*entries, *needed)):
        return None
    for each in list(needed):
        rest = [other for other in needed if other != each]
        needed = rest if holds((*entries, *rest)) else needed
    return (*entries, *needed)


def _outward(knob: Knob, current: float, way: int, holds: Question, most: int) -> float | None:
    """The first value in this direction with which it holds."""
    before = current
    for station in _stations(knob, current, way, most):
        if holds(station):
            return _whole(before, station, holds) if knob.kind == "int" else _fine(knob, current, before, station, holds)
        before = station
    return None


def _stations(knob: Knob, current: float, way: int, most: int) -> Iterator[float]:
    """Values ever farther away: on the way to neutral, where that lies in this direction, then on to the end of the range."""
    end = knob.high if way > 0 else knob.low
    targets = [] if end is None else [float(end)]
    neutral = knob.neutral
    if isinstance(neutral, int | float) and (neutral - current) * way > 0 and neutral != end:
        targets.insert(0, float(neutral))
    at = current
    for target in targets:
        steps = [at + share * (target - at) for share in STATIONS]
        if knob.kind == "int":  # the end of a range may mean "off": its neighbour is asked by itself
            steps = [math.floor(step) if way > 0 else math.ceil(step) for step in (*steps[:-1], target - way, target)]
        for step in steps:
            if (step - at) * way > 0 and _accepts(knob, step):
                at = step
                yield at
    if end is None:
        yield from _doubling(knob, at, way, most)


def _doubling(knob: Knob, start: float, way: int, most: int) -> Iterator[float]:
    if knob.kind == "int":
        step = 1
        while abs(start) < most and step <= 2 * most:
            yield start + way * step
            step *= 2
        return
    unit = max(1.0, abs(start)) / 8
    for power in range(DOUBLINGS):
        yield start + way * unit * 2.0**power


def _accepts(knob: Knob, value: float) -> bool:
    try:
        knob.check(value, knob.name)
    except UsageError:
        return False
    return True


def _whole(fails: float, works: float, holds: Question) -> int:
    low, high = int(fails), int(works)
    while abs(high - low) > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _fine(knob: Knob, current: float, fails: float, works: float, holds: Question) -> float:
    """Halves the way between what fails and what works, then takes the shortest number that works as well."""
    at_start = works
    for _ in range(MOST_HALVINGS):
        if abs(works - fails) <= FINE * _scale(knob, current, works) and works != knob.neutral:
            break
        middle = (fails + works) / 2
        if middle in (fails, works):
            break
        fails, works = (fails, middle) if holds(middle) else (middle, works)
    away = 1 if works > current else -1
    for digits in range(17):
        rounded: float = round(
            math.ceil(works * 10**digits) / 10**digits if away > 0 else math.floor(works * 10**digits) / 10**digits, digits
        )
        near = abs(rounded - works) <= SHORT * _scale(knob, current, works) and (rounded - at_start) * away <= 0
        if near and (rounded != knob.neutral or works == knob.neutral) and _accepts(knob, rounded) and holds(rounded):
            return rounded
    return works


def _scale(knob: Knob, current: float, value: float) -> float:
    """What a difference from this value is measured against: the change, or what is left to neutral where that is less."""
    left = abs(knob.neutral - value) if isinstance(knob.neutral, int | float) and value != knob.neutral else math.inf
    return min(abs(value - current), left)
