"""A GGUF file's settings, each asked for by its key and type. Knows no key but the architecture's.

GGUF keeps numbers in float32 where config.json has decimal ones: each becomes the shortest decimal that is the same float32.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from gencli.errors import RunError, shown
from gencli.formats._gguf_file import GGUFFile


class Metadata:
    """The settings of a file, each asked for by its key and type; raises `RunError` for another type."""

    def __init__(self, file: GGUFFile) -> None:
        self.path, self._values = file.path, file.metadata
        self.word = self.text("general.architecture") or ""

    def own(self, key: str) -> str:
        """A key of the architecture."""
        return f"{self.word}.{key}"

    def text(self, key: str) -> str | None:
        found: str | None = self._typed(key, str, "a text")
        return found

    def flag(self, key: str) -> bool | None:
        found: bool | None = self._typed(key, bool, "true or false")
        return found

    def whole(self, key: str) -> int | None:
        """Also of a list with the same number for every layer."""
        value = self.plain(key)
        if value is not None and type(value) is not int:
            raise RunError(f"{self.path}: {key} must be a whole number, not {shown(value)}.")
        return value

    def number(self, key: str) -> float | None:
        value = self.plain(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)):
            raise RunError(f"{self.path}: {key} must be a number, not {shown(value)}.")
        return value

    def plain(self, key: str) -> Any:
        """Any value, with floats as the decimals that were meant."""
        value = self._values.get(key)
        if isinstance(value, list) and value and all(each == value[0] for each in value):
            value = value[0]
        return meant(value) if isinstance(value, float) else value

    def list_of(self, key: str, kind: type[Any]) -> list[Any]:
        """A list of this type, empty where it is absent."""
        values = self._typed(key, list, "a list") or []
        if not all(type(each) is kind for each in values):
            raise RunError(f"{self.path}: {key} must be a list of {kind.__name__}.")
        return values

    def _typed(self, key: str, kind: type[Any], what: str) -> Any:
        value = self._values.get(key)
        if value is not None and not isinstance(value, kind):
            raise RunError(f"{self.path}: {key} must be {what}, not {shown(value)}.")
        return value


def meant(value: float) -> float:
    """The shortest decimal that is this number in float32 (1e-05 for 9.99999974e-06)."""
    for digits in range(1, 10):
        short = float(f"{value:.{digits}g}")
        if abs(short) < 3e38 and struct.pack("<f", short) == struct.pack("<f", value):
            return short
    return value
