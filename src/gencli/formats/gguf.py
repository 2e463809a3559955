"""GGUF, llama.cpp's format: one file with settings, tokenizer and weights, quantised or not. Knows no model."""

from __future__ import annotations

import os
from pathlib import Path

from gencli.errors import RunError
from gencli.formats import Checkpoint

MAGIC = b"GGUF"


class Gguf:
    """A file that begins with "GGUF", whatever its name."""

    def recognises(self, path: Path) -> bool:
        if not path.is_file():
            return False
        with open(path, "rb") as file:
            return path.suffix == ".gguf" or file.read(4) == MAGIC

    def open(self, path: Path) -> Checkpoint:
        """Read and check the header. Raises `RunError`."""
        # here, because every checkpoint is first asked whether it is a GGUF file
        from gencli.formats._gguf_file import read_gguf
        from gencli.formats._gguf_metadata import Metadata
        from gencli.formats._gguf_settings import architecture_of, config_of, generation_of, vocabulary_of
        from gencli.formats._gguf_tensors import DequantisedTensors, sources_of

        file = read_gguf(path)
        metadata = Metadata(file)
        if (metadata.whole("split.count") or 1) > 1:
            raise RunError(
                f"{path} is one of several parts of a checkpoint; `llama-gguf-split --merge` of llama.cpp makes one file of them."
            )
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
