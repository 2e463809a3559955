"""The sha256 of a checkpoint's files, found in the background and remembered between runs. Knows no tensors."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from gencli.events import Hashed
from gencli.formats._gguf_names import model_in, with_parts

CHUNK = 1 << 22  # bytes
SUFFIXES = (".safetensors", ".bin", ".pt", ".pkl", ".json", ".model", ".tiktoken", ".txt", ".jinja")


def checkpoint_files(path: Path) -> list[Path]:
    """What makes up the checkpoint at `path`: the file with its parts, or the weights, settings and tokenizer in that folder."""
    model = path if path.is_file() else model_in(path)
    if model is not None:
        parts = [model.with_name(name) for name in with_parts(model.name)]
        return parts if all(part.is_file() for part in parts) else [model]
    return sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())


class Fingerprint:
    """Hashes files in a thread of its own, which leaves the interpreter free and yields to the run.

    The checkpoint's `sha256` is that of the lines "<sha256>  <name>\\n" in the order of the names, as
    `sha256sum` prints them. Files that were hashed before, and have the same path, size and time, are
    looked up in `$XDG_CACHE_HOME/gencli/sha256`, unless `anew`: then every byte is read.
    """

    def __init__(self, files: Sequence[Path], anew: bool = False) -> None:
        self._files = list(files)
        self._anew = anew
        self._found: Hashed | None = None
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._work, name="gencli-fingerprint", daemon=True)
        self._thread.start()

    def ready(self) -> Hashed | None:
        """The event, if it is known by now."""
        return self._found

    def wait(self) -> Hashed | None:
        """The event; None where a file could not be read or the work was cancelled."""
        self._thread.join()
        return self._found

    def cancel(self) -> None:
        """Stop soon; nobody waits for the result any more."""
        self._cancelled.set()

    def _work(self) -> None:
        try:
            if sys.platform == "linux":  # there a thread has a niceness of its own
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
            digests = {file.name: digest for file in self._files if (digest := self._digest(file))}
        except OSError:  # a checkpoint that was loaded and then taken away: the run is none the worse
            return
        if len(digests) == len(self._files):
            lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
            self._found = Hashed(hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest(), digests)

    def _digest(self, file: Path) -> str:
        """A file's sha256 in hex, from the cache or by reading it; "" where cancelled."""
        with open(file, "rb", buffering=0) as stream:
            status = os.fstat(stream.fileno())
            entry = _cache_entry(file, status.st_size, status.st_mtime_ns)
            if not self._anew and (known := _remembered(entry)):
                return known
            digest, buffer = hashlib.sha256(), memoryview(bytearray(CHUNK))
            while count := stream.readinto(buffer):
                if self._cancelled.is_set():
                    return ""
                digest.update(buffer[:count])
        _remember(entry, digest.hexdigest())
        return digest.hexdigest()


def _cache_entry(file: Path, size: int, mtime_ns: int) -> Path | None:
    """Where this file's digest is remembered; None where there is no home to remember anything in."""
    place = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = Path(place) if os.path.isabs(place) else Path.home() / ".cache"
    except RuntimeError:
        return None
    key = hashlib.sha256(json.dumps([os.fspath(file.resolve()), size, mtime_ns]).encode()).hexdigest()
    return folder / "gencli" / "sha256" / key


def _remembered(entry: Path | None) -> str:
    try:
        text = entry.read_text("ascii") if entry else ""
    except (OSError, ValueError):
        return ""
    return text if len(text) == 64 and set(text) <= set("0123456789abcdef") else ""


def _remember(entry: Path | None, digest: str) -> None:
    """Written whole or not at all; a cache that cannot be written is no cache."""
    if entry is None:
        return
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        beside = entry.with_name(f"{entry.name}.{os.getpid()}.{threading.get_native_id()}")
        beside.write_text(digest, "ascii")
        os.replace(beside, entry)
    except OSError:
        return
