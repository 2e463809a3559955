"""nanoGPT's meta.pkl: one token a character. Reads the pickle as data only: it can name no class and run nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from gencli.tokenizers._source import damaged

LARGEST = 1 << 20  # bytes; all of Unicode would fill ten times as much, and no model knows it


@dataclass(frozen=True)
class Alphabet:
    """The characters by id."""

    path: Path
    characters: list[str]


def alphabet(path: Path, data: bytes) -> Alphabet:
    """The characters of a meta.pkl's `data`. Raises `RunError` where it is damaged or holds anything but plain values."""
    import io
    import pickle

    class Data(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> NoReturn:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and only plain values are read")

    if len(data) > LARGEST:
        raise damaged(path, f"it is larger than {LARGEST >> 20} MB, which no alphabet is")
    try:
        meta: Any = Data(io.BytesIO(data)).load()
        itos = meta["itos"]
        characters = [itos[id] for id in range(len(itos))]
    except Exception as error:  # whatever a pickle's damage leads to
        raise damaged(path, f"it is no pickle of nanoGPT's ({error or type(error).__name__})") from error
    if not characters or not all(isinstance(each, str) and len(each) == 1 for each in characters):
        raise damaged(path, "its itos are not single characters from id 0 on")
    if len(set(characters)) != len(characters) or any("\ud800" <= each <= "\udfff" for each in characters):
        raise damaged(path, "a character is half a one, or has two ids")
    return Alphabet(path, characters)
