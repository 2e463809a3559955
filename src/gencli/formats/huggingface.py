"""Hugging Face's layout: a folder of config.json, weights and a tokenizer. Knows no model.

The weights are one file, or several that an index lists: safetensors, else what `torch.save` wrote. They
are mapped into memory: a tensor is a view of the file until somebody changes its type.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from gencli.errors import RunError, shown
from gencli.formats import Checkpoint, check_links, read_json, size_of
from gencli.formats._mapped import MappedTensors, Piece
from gencli.formats._safetensors import read_header

CONFIG, GENERATION, INDEX = "config.json", "generation_config.json", ".index.json"


class Huggingface:
    """A folder as `save_pretrained` writes it, with weights in safetensors or in torch's own files."""

    def recognises(self, path: Path, names: Collection[str] | None) -> bool:
        return names is not None and CONFIG in names and any(name in names for file in READERS for name in (file, file + INDEX))

    def open(self, path: Path) -> Checkpoint:
        """Read the configuration and the headers, and check them. Raises `RunError`."""
        check_links(path)
        generation = path / GENERATION
        files = weight_files(path)
        return Checkpoint(
            path=path,
            name=Path(os.path.abspath(path)).name,  # of a link, the name it was called by
            config=read_json(path / CONFIG),
            generation_config=read_json(generation) if generation.exists() else {},
            tokenizer_files=path,
            tensors=MappedTensors({name: piece for pieces in files.values() for name, piece in pieces.items()}),
            bytes=sum(map(size_of, files)),
        )


def weight_files(path: Path) -> dict[Path, dict[str, Piece]]:
    """Where the tensors of every weight file of a checkpoint lie. Raises `RunError`."""
    whole, read = next((file, read) for file, read in READERS.items() if (path / file).exists() or (path / (file + INDEX)).exists())
    if (path / whole).exists():
        return {path / whole: read(path / whole)}
    list_of_parts, ending = path / (whole + INDEX), Path(whole).suffix
    index = read_json(list_of_parts).get("weight_map")
    if not isinstance(index, dict) or not all(_names_part(name, ending) for name in index.values()):
        raise RunError(f"{list_of_parts} is damaged: its weight_map does not map tensors to files of its folder.")
    files = {path / name: read(path / name) for name in sorted(set(index.values()))}
    listed = {(name, path / file) for name, file in index.items()}
    held = {(name, file) for file, pieces in files.items() for name in pieces}
    for name, file in sorted(listed ^ held):
        state = "is not in the file" if (name, file) in listed else "is not in the index, but in the file"
        raise RunError(f"{list_of_parts} is damaged: tensor {shown(name)} {state} {shown(file.name)}.")
    return files


def _names_part(name: Any, ending: str) -> bool:
    """Whether this names a weight file beside the index and nowhere else."""
    return isinstance(name, str) and name.endswith(ending) and name.isprintable() and "/" not in name


def _torch(file: Path) -> dict[str, Piece]:
    from gencli.formats._torch_files import pieces_of, read_torch

    return pieces_of(file, *read_torch(file))


READERS: dict[str, Callable[[Path], dict[str, Piece]]] = {"model.safetensors": read_header, "pytorch_model.bin": _torch}
