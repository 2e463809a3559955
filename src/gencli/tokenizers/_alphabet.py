"""nanoGPT's meta.pkl: one token a character. The pickle is data here, and runs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gencli.formats._pickles import read_pickle
from gencli.tokenizers._source import damaged

LARGEST = 1 << 20  # bytes; all of Unicode would fill ten times as much, and no model knows it


@dataclass(frozen=True)
class Alphabet:
    """The characters by id."""

    path: Path
    characters: list[str]


def alphabet(path: Path, data: bytes) -> Alphabet:
    """The characters of a meta.pkl's `data`. Raises `RunError` where it is damaged or holds anything but plain values."""
    if len(data) > LARGEST:
        raise damaged(path, f"it is larger than {LARGEST >> 20} MB, which no alphabet is")
    meta = read_pickle(data, str(path))
    itos = meta.get("itos") if isinstance(meta, dict) else None
    if not isinstance(itos, dict) or not itos or set(itos) != set(range(len(itos))):
        raise damaged(path, "it is not nanoGPT's: it holds no itos, the characters by their ids from 0 on")
    characters = [itos[id] for id in range(len(itos))]
    if not all(isinstance(each, str) and len(each) == 1 for each in characters):
        raise damaged(path, "its itos are not single characters")
    if len(set(characters)) != len(characters) or any("\ud800" <= each <= "\udfff" for each in characters):
        raise damaged(path, "a character is half a one, or has two ids")
    return Alphabet(path, characters)
