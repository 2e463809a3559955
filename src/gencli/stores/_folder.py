"""A plain folder of checkpoints, each named like its folder, or like its file without the ending. Knows no particular folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gencli.formats import format_of
from gencli.formats._gguf_names import is_later_part, stem_of


def checkpoints_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """The names and places of what lies in a folder; of a folder and a file of one name, the folder comes first."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:  # there is none, or it is not ours to read
        return
    entries = [each for each in entries if not is_later_part(each.name)]
    found = [(stem_of(each.name) if each.is_file() else each.name, each) for each in entries if _is_checkpoint(each)]
    yield from sorted(found, key=lambda each: (each[0], each[1].is_file()))


def _is_checkpoint(path: Path) -> bool:
    """Whether this is a checkpoint, or a folder that means to be one."""
    try:
        return (path / "config.json").exists() or format_of(path) is not None
    except OSError:
        return False
