"""What a line about probabilities is made of: bars, per cents that add up, quoted tokens, colours. Knows no event."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final

EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
NOTHING: Final = 5e-7  # what is left of a sum of probabilities below this is rounding
PERCENT_CELLS: Final = 7  # "12.34 %"

_ESCAPES: Final = MappingProxyType({"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"})


def bar(share: float, cells: int) -> str:
    """A bar of `share` (0 to 1) of `cells` cells, to the nearest eighth of a cell; not padded."""
    eighths = round(min(max(share, 0.0), 1.0) * cells * 8)
    whole, rest = divmod(eighths, 8)
    return EIGHTHS[8] * whole + (EIGHTHS[rest] if rest else "")


@lru_cache(maxsize=4096)
def quote(text: str) -> str:
    """A token's text between double quotes, on one line: what is no printable character is escaped.

    A mark that would combine with the quote before it is escaped as well.
    """
    shown = [_shown(character) for character in text]
    if text and unicodedata.category(text[0])[0] == "M":
        shown[0] = _escape(text[0])
    return f'"{"".join(shown)}"'


def label(text: str, token_id: int) -> str:
    """How a token is named: its text, quoted, or its id where it has none."""
    return quote(text) if text else f"#{token_id}"


def _shown(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if character.isprintable() else _escape(character)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@lru_cache(maxsize=4096)
def cells(text: str) -> int:
    """How many cells of a terminal the text fills."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


@lru_cache(maxsize=4096)
def fit(text: str, width: int) -> str:
    """The text in exactly `width` cells: padded at the right, or cut with an ellipsis."""
    filled = cells(text)
    if filled <= width:
        return text + " " * (width - filled)
    kept, room = "", max(width - 1, 0)
    for character in text:
        room -= cells(character)
        if room < 0:
            break
        kept += character
    cut = kept + "…" if width > 0 else ""
    return cut + " " * (width - cells(cut))


def shares(probs: Sequence[float]) -> tuple[list[int], int, bool]:
    """The probabilities in hundredths of a per cent, and what the others have, so that all add up to 10000.

    The third value tells whether there is anything left for the others at all. Equal probabilities
    stay equal unless nothing but rounding can be given to the others.
    """
    points = [round(prob * 10000) for prob in probs]
    rest = 10000 - sum(points)
    left = 1.0 - sum(probs) > NOTHING
    if points and (rest < 0 or not left):
        points[max(range(len(points)), key=points.__getitem__)] += rest
        rest = 0
    return points, rest, left


def percent(points: int, some: bool = True) -> str:
    """Hundredths of a per cent in 7 cells: "12.34 %", "  100 %", "<0.01 %" (there is some), "    0 %" (there is none)."""
    if points == 0:
        return "<0.01 %" if some else "    0 %"
    return "  100 %" if points == 10000 else f"{points // 100:2d}.{points % 100:02d} %"


class Palette:
    """Paints words for a terminal: `paint("chosen", text)`. `colour` is "none", "attributes" or "standard"."""

    STYLES: Final = MappingProxyType(
        {
            "chosen": "bold green",
            "raw": "dim",
            "final": "cyan",
            "removed": "dim strike",
            "stage": "magenta",
            "faint": "dim",
            "head": "bold",
            "none": "none",
            # how surprising a token is, from not at all to very; each is told from the next without colour too
            "heat0": "dim",
            "heat1": "none",
            "heat2": "italic yellow",
            "heat3": "bold magenta",
            "heat4": "bold underline red",
        }
    )

    def __init__(self, colour: str = "none") -> None:
        self._around = dict.fromkeys(self.STYLES, ("", ""))
        if colour == "none":
            return
        from rich.color import ColorSystem
        from rich.style import Style

        for name, definition in self.STYLES.items():
            style = Style.parse(definition)
            style = style if colour == "standard" else style.without_color
            before, _, after = style.render("\0", color_system=ColorSystem.STANDARD).partition("\0")
            self._around[name] = (before, after)

    def __call__(self, style: str, text: str) -> str:
        """The text in one of `STYLES`; spaces around it stay plain, so that nothing is struck but words."""
        before, after = self._around[style]
        words = text.strip(" ")
        if not before or not words:
            return text
        start = text.index(words[0])
        return f"{text[:start]}{before}{words}{after}{text[start + len(words) :]}"
