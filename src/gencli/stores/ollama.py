"""The models that ollama keeps: manifests/HOST/NAMESPACE/NAME/TAG names a blob, which is a GGUF file. Knows no other store."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from gencli.errors import RunError, shown
from gencli.formats import read_json

HOST, NAMESPACE, TAG = "registry.ollama.ai", "library", "latest"  # what a name leaves out
MODEL = "application/vnd.ollama.image.model"
SERVICE = "/usr/share/ollama/.ollama/models"  # where ollama's service on Linux keeps them
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


def folders() -> list[Path]:
    """$OLLAMA_MODELS, else ~/.ollama/models and the folder of ollama's service."""
    stated = os.environ.get("OLLAMA_MODELS", "")
    return [Path(stated)] if stated else [Path(os.path.expanduser("~")) / ".ollama" / "models", Path(SERVICE)]


class Ollama:
    """Models as `ollama list` names them: NAME:TAG, and with another namespace or host in front what that is."""

    place: ClassVar[int] = 40

    def entries(self) -> Iterator[tuple[str, Path]]:
        for name, manifest in self._manifests():
            try:
                yield name, _blob(manifest)
            except RunError:
                continue

    def find(self, word: str) -> Path | None:
        full = word if ":" in word.rpartition("/")[2] else f"{word}:{TAG}"
        return next((_blob(manifest) for name, manifest in self._manifests() if name == full), None)

    def _manifests(self) -> Iterator[tuple[str, Path]]:
        for folder in folders():
            try:
                manifests = sorted((folder / "manifests").glob("*/*/*/*"))
            except OSError:
                continue
            for manifest in manifests:
                host, namespace, name, tag = manifest.parts[-4:]
                before = f"{host}/{namespace}/" if host != HOST else f"{namespace}/" if namespace != NAMESPACE else ""
                yield f"{before}{name}:{tag}", manifest


def _blob(manifest: Path) -> Path:
    """The file of the model that a manifest names. Raises `RunError` where it names none, or the file is not there."""
    layers = read_json(manifest).get("layers")
    for layer in layers if isinstance(layers, list) else ():
        if isinstance(layer, dict) and layer.get("mediaType") == MODEL:
            match = _DIGEST.fullmatch(digest) if isinstance(digest := layer.get("digest"), str) else None
            if match is None:
                raise RunError(f"{manifest} is damaged: the digest of its model is {shown(layer.get('digest'))}.")
            blob = manifest.parents[4] / "blobs" / f"sha256-{match[1]}"
            if not blob.is_file():
                raise RunError(f"{manifest} names the blob {blob}, which is not there.")
            return blob
    raise RunError(f"{manifest} names no model.")
