"""The checkpoints that come with gencli. Knows no other store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from gencli.shipped import folder
from gencli.stores._folder import checkpoints_in


class Shipped:
    """What lies in `checkpoints/` of a source tree or of the installed package."""

    place: ClassVar[int] = 20

    def entries(self) -> Iterator[tuple[str, Path]]:
        return checkpoints_in(folder("checkpoints"))

    def find(self, word: str) -> Path | None:
        return next((path for name, path in self.entries() if name == word), None)
