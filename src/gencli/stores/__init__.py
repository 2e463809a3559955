"""The shelf of stores: where checkpoints with a name lie on this machine. Here is their contract; one file holds one store.

A store knows how somebody lays out checkpoints on disk, and nothing of what is in them. None of them ever
fetches anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Protocol

from gencli.registry import find, names


class Store(Protocol):
    """What every store offers. `place`: of two stores that know a name, the one with the lower place has it."""

    place: ClassVar[int]

    def entries(self) -> Iterator[tuple[str, Path]]:
        """Every name with the folder or file that it means; what cannot be read is passed over."""
        ...

    def find(self, word: str) -> Path | None:
        """What a name means here, in every spelling; None where it means nothing.

        Raises `UsageError` where the name leaves a choice, `RunError` where what it means is damaged or unsafe.
        """
        ...


def stores() -> list[tuple[str, Store]]:
    """Every store with its name, the one that counts first in front."""
    found: list[tuple[str, Store]] = [(name, find("stores", name)()) for name in names("stores")]
    return sorted(found, key=lambda each: each[1].place)
