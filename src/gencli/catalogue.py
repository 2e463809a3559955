"""Names of checkpoints: what lies where, and which one a name means. Knows nothing of what is in them; needs no torch."""

from __future__ import annotations

import os
from pathlib import Path

from gencli import shipped
from gencli.errors import UsageError, shown, unknown

DEFAULT_CHECKPOINT = "fable-9m"


def checkpoint_names() -> dict[str, Path]:
    """The checkpoints that have a name, with their folders: the user's own before the shipped ones."""
    found: dict[str, Path] = {}
    for folder in (user_folder(), shipped.folder("checkpoints")):
        try:
            entries = sorted(entry for entry in folder.iterdir() if (entry / "config.json").exists())
        except OSError:  # there is none, or it is not ours to read
            continue
        for entry in entries:
            found.setdefault(entry.name, entry)
    return found


def user_folder() -> Path:
    """Where a person's own checkpoints lie: $XDG_DATA_HOME/gencli/checkpoints."""
    stated = os.environ.get("XDG_DATA_HOME", "")
    # the XDG specification has relative paths ignored
    data = Path(stated) if os.path.isabs(stated) else Path("~/.local/share").expanduser()
    return data / "gencli" / "checkpoints"


def find_checkpoint(name_or_path: str | None = None) -> Path:
    """The folder of a checkpoint. What contains "/" is a path, else a name, else a path if there is one.

    Raises `UsageError` with the choices and the nearest name where there is neither.
    """
    word = DEFAULT_CHECKPOINT if name_or_path is None else str(name_or_path)
    if "/" not in word and word in (named := checkpoint_names()):
        return named[word]
    try:
        if word and os.path.lexists(word):
            return Path(word)
    except ValueError:  # a NUL is in no path
        pass
    if "/" in word:
        raise UsageError(
            f"there is no checkpoint at {shown(word)}; names are looked up without a '/'. Choices: {', '.join(checkpoint_names())}."
        )
    raise unknown("checkpoint", word, named)
