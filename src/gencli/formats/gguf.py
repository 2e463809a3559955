"""GGUF, llama.cpp's format: settings, tokenizer and weights, quantised or not, in one file or in parts. Knows no model."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from gencli.formats import Checkpoint, check_links, size_of
from gencli.formats._gguf_names import first_of, model_in, stem_of

MAGIC = b"GGUF"


class Gguf:
    """A file that begins with "GGUF", whatever its name; any part of a model; or a folder with one model and no weights of another kind."""

    def recognises(self, path: Path, names: Collection[str] | None) -> bool:
        if names is not None:
            return first_of(names) is not None
        if not path.is_file():
            return False
        with open(path, "rb") as file:
            return path.suffix == ".gguf" or file.read(4) == MAGIC

    def open(self, path: Path) -> Checkpoint:
        """Read and check the headers. Raises `RunError`."""
        # here, because every checkpoint is first asked whether it is a GGUF file
        from gencli.formats._gguf_metadata import Metadata
        from gencli.formats._gguf_parts import read_model
        from gencli.formats._gguf_settings import architecture_of, config_of, generation_of, vocabulary_of
        from gencli.formats._gguf_tensors import DequantisedTensors, sources_of

        given = model_in(path) if path.is_dir() else path
        assert given is not None  # it was recognised
        if path.is_dir():
            check_links(path)
        file = read_model(given)
        metadata = Metadata(file)
        architecture = architecture_of(file, metadata)
        config = config_of(file, metadata, architecture)
        sources, name = sources_of(file, architecture), os.path.basename(os.path.abspath(path))
        return Checkpoint(
            path=path,
            name=name if path.is_dir() else stem_of(name),
            config=config,
            generation_config=generation_of(metadata, config["vocab_size"]),
            tokenizer_files=given.parent,
            tensors=DequantisedTensors(sources, config),
            bytes=sum(map(size_of, {given, file.path, *(held.file for held in file.tensors.values())})),
            vocabulary=vocabulary_of(metadata),
            stored={name: source.held.kind for name, source in sources.items()},
        )
