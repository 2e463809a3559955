"""How the files of a GGUF model are named: one file, or parts as llama.cpp's gguf-split writes them. Knows nothing of what is in them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

MOST_PARTS = 1000
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.ASCII | re.DOTALL)
_OTHERS = (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt", ".pth")  # weights of other formats


def with_parts(name: str) -> list[str]:
    """The names of all parts of the model that a part's name belongs to, in their order; of any other file its own."""
    match = _PART.fullmatch(name)
    if match is None or not 1 <= int(match["number"]) <= int(match["count"]) <= MOST_PARTS:
        return [name]
    return [f"{match['stem']}-{number:05}-of-{match['count']}.gguf" for number in range(1, int(match["count"]) + 1)]


def is_later_part(name: str) -> bool:
    """Whether this is a part, but not the first one."""
    return with_parts(name)[0] != name


def stem_of(name: str) -> str:
    """A file's name without what says of which kind and which part it is."""
    match = _PART.fullmatch(name)
    return Path(name).stem if match is None else match["stem"]


def model_in(folder: Path) -> Path | None:
    """The first file, there or not, of the only model in a folder; None where there are several, or weights of another format."""
    first = first_of(os.listdir(folder))
    return None if first is None else folder / first


def first_of(names: Iterable[str]) -> str | None:
    """The same for the names of what lies in a folder."""
    names = list(names)
    first = {with_parts(name)[0] for name in names if name.endswith(".gguf")}
    return first.pop() if len(first) == 1 and not any(name.endswith(_OTHERS) for name in names) else None
