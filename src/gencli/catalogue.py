"""Names of checkpoints: what lies in which store, and which one a name means. Knows nothing of what is in them; needs no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gencli.errors import UsageError, nearest, shown, unknown
from gencli.stores import stores

DEFAULT_CHECKPOINT = "fable-6m"


@dataclass(frozen=True)
class Listed:
    """A checkpoint that has a name: `store` is a file of `stores/`; `shadowed` is the store whose checkpoint that name means instead."""

    name: str
    path: Path
    store: str
    shadowed: str | None


def listed() -> list[Listed]:
    """Every checkpoint that has a name, by name; of one name, the one that it means comes first."""
    found: list[Listed] = []
    owners: dict[str, str] = {}
    for store, shelf in stores():
        for name, path in shelf.entries():
            found.append(Listed(name, path, store, owners.get(name)))
            owners.setdefault(name, store)
    return sorted(found, key=lambda each: each.name)


def checkpoint_names() -> list[str]:
    """The names that `--checkpoint` knows, sorted."""
    return sorted({each.name for each in listed()})


def store_of(path: Path) -> str | None:
    """The store that has this checkpoint, or None for a path of its own."""
    return next((each.store for each in listed() if each.path == path), None)


def find_checkpoint(name_or_path: str | None = None) -> Path:
    """The folder or file of a checkpoint, on this machine: nothing is fetched.

    A word with "/" is a path if there is one, else a name; any other is a name, else a path if there is
    one. Raises `UsageError` with the choices and the nearest name where it is neither, or leaves a
    choice, and `RunError` where what a name means is damaged.
    """
    word = DEFAULT_CHECKPOINT if name_or_path is None else str(name_or_path)
    path = _existing(word)
    if path is not None and "/" in word:
        return path
    if not _only_a_path(word):
        for _, store in stores():
            if (found := store.find(word)) is not None:
                return found
    if path is not None:
        return path
    raise _unknown(word)


def name_from(name_or_path: str | None, path: Path) -> str | None:
    """The name by which `find_checkpoint` found a path; None where it was given the path itself."""
    word = DEFAULT_CHECKPOINT if name_or_path is None else str(name_or_path)
    return None if Path(word) == path else word


def _existing(word: str) -> Path | None:
    try:
        return Path(word) if word and os.path.lexists(word) else None
    except ValueError:  # a NUL is in no path
        return None


def _only_a_path(word: str) -> bool:
    """Whether this can be no name: /..., ./..., ../..., ~/..."""
    return word.startswith(("/", "~")) or word.partition("/")[0] in (".", "..")


def _unknown(word: str) -> UsageError:
    from gencli.stores.hub import HubName

    choices = checkpoint_names()
    if "/" not in word:
        return unknown("checkpoint", word, choices)
    listing = f"Choices: {', '.join(choices)}."
    if _only_a_path(word) or (name := HubName.read(word)) is None:
        return UsageError(f"there is no checkpoint at {shown(word)}. {listing}")
    hint = f" Did you mean '{meant}'?" if (meant := nearest(word, choices)) else ""
    repo = f"{name.repo}@{name.revision}" if name.revision else name.repo
    file = f" --file {name.file}" if name.file else ""
    pull = f"gencli checkpoints pull {repo}{file}"
    return UsageError(f"there is no checkpoint '{word}' on this machine; `{pull}` would fetch it from the hub.{hint} {listing}")
