"""Which checkpoint was it? The SHA-256 of its files, found in the background and remembered. Knows no event."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

KINDS = (".safetensors", ".json")  # what a run depends on: weights, configuration, tokenizer
CHUNK = 1 << 22  # bytes read at a time; hashing one lets go of Python's lock


class Fingerprint:
    """Starts hashing at once, in a thread that ends with the process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[str, Any] | None = None
        self._thread = threading.Thread(target=self._work, name="fingerprint", daemon=True)
        self._thread.start()

    def found(self, *, wait: bool) -> dict[str, Any] | None:
        """`{"sha256", "files": {name: sha256}}`, or None while it is not known (or could not be read)."""
        if wait:
            self._thread.join()
        return self._found

    def _work(self) -> None:
        try:
            self._found = fingerprint(self._folder)
        except OSError:  # the files were taken away under us: the run goes on without
            self._found = None


def fingerprint(folder: Path, *, remember: bool = True) -> dict[str, Any]:
    """The SHA-256 of every file of a checkpoint, and one over all: that of their "name digest" lines, sorted.

    Digests are remembered by path, size and time of change, unless `remember` is False. Raises `OSError`.
    """
    files = sorted(file for file in folder.iterdir() if file.suffix in KINDS and file.is_file())
    digests = {file.name: _remembered(file) if remember else _digest(file) for file in files}
    lines = "".join(f"{name} {digest}\n" for name, digest in digests.items())
    return {"sha256": hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest(), "files": digests}


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb", buffering=0) as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _remembered(file: Path) -> str:
    status = file.stat()
    key = [str(file.resolve()), status.st_size, status.st_mtime_ns]
    entry = _cache_folder() / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()}.json"
    try:
        kept = json.loads(entry.read_text("utf-8"))
        if kept["key"] == key and isinstance(kept["sha256"], str):
            return str(kept["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or not whole: it is made anew
    digest = _digest(file)
    _keep(entry, {"key": key, "sha256": digest})
    return digest


def _keep(entry: Path, content: dict[str, Any]) -> None:
    """Write an entry whole or not at all; a cache that cannot be written is none."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        part = entry.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(content), "utf-8")
        part.replace(entry)
    except OSError:
        pass


def _cache_folder() -> Path:
    """$XDG_CACHE_HOME/gencli/fingerprints; a relative one does not count."""
    stated = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(stated) if os.path.isabs(stated) else Path(os.path.expanduser("~")) / ".cache"
    return base / "gencli" / "fingerprints"
