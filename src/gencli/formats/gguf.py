"""GGUF, llama.cpp's format: one file with settings, tokenizer and weights, quantised or not. Knows no model."""

from __future__ import annotations

import os
from pathlib import Path

from gencli.formats import Checkpoint
from gencli.formats._gguf_file import MAGIC, read_gguf
from gencli.formats._gguf_metadata import Metadata
from gencli.formats._gguf_settings import architecture_of, config_of, generation_of, vocabulary_of
from gencli.formats._gguf_tensors import DequantisedTensors, sources_of


class Gguf:
    """A file that begins with "GGUF", whatever its name."""

    def recognises(self, path: Path) -> bool:
        if not path.is_file():
            return False
        with open(path, "rb") as file:
            return path.suffix == ".gguf" or file.read(4) == MAGIC

    def open(self, path: Path) -> Checkpoint:
        """Read and check the header. Raises `RunError`."""
        file = read_gguf(path)
        metadata = Metadata(file)
        architecture = architecture_of(file, metadata)
        config = config_of(file, metadata, architecture)
        sources = sources_of(file, architecture)
        return Checkpoint(
            path=path,
            name=Path(os.path.abspath(path)).stem,
            config=config,
            generation_config=generation_of(metadata, config["vocab_size"]),
            tokenizer_files=path.parent,
            tensors=DequantisedTensors(file, sources, config),
            bytes=path.stat().st_size,
            vocabulary=vocabulary_of(metadata),
            stored={name: source.held.kind for name, source in sources.items()},
        )
