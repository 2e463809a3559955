"""Hugging Face's layout: a folder of config.json, safetensors files and a tokenizer. Knows no model.

The weights are one `model.safetensors`, or several files that `model.safetensors.index.json` lists.
They are mapped into memory: a tensor is a view of the file until somebody changes its type.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gencli.errors import RunError, shown
from gencli.formats import Checkpoint, Header, read_header, read_json, size_of

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, GENERATION, WEIGHTS, INDEX = "config.json", "generation_config.json", "model.safetensors", "model.safetensors.index.json"


class Huggingface:
    """A folder as `save_pretrained` writes it; safetensors only."""

    def recognises(self, path: Path) -> bool:
        return (path / CONFIG).exists() and any((path / name).exists() for name in (WEIGHTS, INDEX))

    def open(self, path: Path) -> Checkpoint:
        """Read the configuration and the headers, and check them. Raises `RunError`."""
        generation = path / GENERATION
        files = weight_files(path)
        return Checkpoint(
            path=path,
            name=Path(os.path.abspath(path)).name,  # of a link, the name it was called by
            config=read_json(path / CONFIG),
            generation_config=read_json(generation) if generation.exists() else {},
            tokenizer_files=path,
            tensors=MappedTensors(files),
            bytes=sum(map(size_of, files)),
        )


def weight_files(path: Path) -> dict[Path, dict[str, Header]]:
    """The headers of every weight file of a checkpoint. Raises `RunError`."""
    if (path / WEIGHTS).exists():
        return {path / WEIGHTS: read_header(path / WEIGHTS)}
    index = read_json(path / INDEX).get("weight_map")
    if not isinstance(index, dict) or not all(map(_names_part, index.values())):
        raise RunError(f"{path / INDEX} is damaged: its weight_map does not map tensors to files of its folder.")
    files = {path / name: read_header(path / name) for name in sorted(set(index.values()))}
    listed = {(name, path / file) for name, file in index.items()}
    held = {(name, file) for file, headers in files.items() for name in headers}
    for name, file in sorted(listed ^ held):
        state = "is not in the file" if (name, file) in listed else "is not in the index, but in the file"
        raise RunError(f"{path / INDEX} is damaged: tensor {shown(name)} {state} {shown(file.name)}.")
    return files


def _names_part(name: Any) -> bool:
    """Whether this names a weight file beside the index and nowhere else."""
    return isinstance(name, str) and name.endswith(".safetensors") and name.isprintable() and "/" not in name


class MappedTensors:
    """The tensors of some safetensors files, mapped when the first of a file is asked for."""

    def __init__(self, files: Mapping[Path, Mapping[str, Header]], device: str = "cpu") -> None:
        self.headers = {name: header for headers in files.values() for name, header in headers.items()}
        self._files = files
        self._device = device
        self._place = {name: file for file, headers in files.items() for name in headers}
        self._open: dict[Path, Any] = {}

    def on(self, device: str) -> MappedTensors:
        return MappedTensors(self._files, device)

    def __getitem__(self, name: str) -> Tensor:
        from safetensors import SafetensorError, safe_open

        file = self._place[name]
        try:
            if file not in self._open:
                self._open[file] = safe_open(file, framework="pt", device=self._device)
            tensor: Tensor = self._open[file].get_tensor(name)
        except (SafetensorError, OSError, RuntimeError, ValueError) as error:
            raise RunError(f"tensor {shown(name)} of {file} cannot be read: {shown(str(error))}.") from error
        return tensor
