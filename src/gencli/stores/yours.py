"""A person's own checkpoints: $XDG_DATA_HOME/gencli/checkpoints. Knows no other store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from gencli.stores._folder import checkpoints_in


def folder() -> Path:
    """$XDG_DATA_HOME/gencli/checkpoints, by default in ~/.local/share; a relative XDG_DATA_HOME does not count."""
    stated = os.environ.get("XDG_DATA_HOME", "")
    # the XDG specification has relative paths ignored
    data = Path(stated) if os.path.isabs(stated) else Path(os.path.expanduser("~")) / ".local" / "share"
    return data / "gencli" / "checkpoints"


class Yours:
    """Folders and files that somebody put there, which therefore count before all others."""

    place: ClassVar[int] = 10

    def entries(self) -> Iterator[tuple[str, Path]]:
        return checkpoints_in(folder())

    def find(self, word: str) -> Path | None:
        return next((path for name, path in self.entries() if name == word), None)
