"""Whether a checkpoint is whole: its files as they were published, its tensors all there and finite. Knows no terminal."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from gencli.errors import RunError, shown
from gencli.fingerprint import CHUNK, checkpoint_files
from gencli.formats import Checkpoint, Header, Tensors
from gencli.models import family

if TYPE_CHECKING:
    from torch import Tensor

SHA256, GIT = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
LONGEST_NOTE = 1 << 16  # bytes of a file that holds a hash
BLOCK = 1 << 24  # numbers that are looked at at a time


@dataclass(frozen=True)
class Integrity:
    """What was found: `tensors` and `numbers` looked at, `hashed` files that are as published, `damages` as sentences."""

    tensors: int
    numbers: int
    hashed: tuple[str, ...]
    damages: tuple[str, ...]


def check(checkpoint: Checkpoint, told: Callable[[int, int], object] = lambda done, total: None) -> Integrity:
    """Read all of it; `told` hears of the work done and in all, in bytes. Raises `RunError` where a file cannot be read."""
    published = published_hashes(checkpoint_files(checkpoint.path))
    numbers = {name: math.prod(header.shape) for name, header in checkpoint.headers.items()}
    total = sum(file.stat().st_size for file in published) + 4 * sum(numbers.values())
    done = 0

    def worked(size: int) -> None:
        nonlocal done
        done += size
        told(done, total)

    damages = [] if (why := unaccounted(checkpoint)) is None else [why]
    hashed = []
    for file, digest in published.items():
        if _digest(file, digest, worked) == digest:
            hashed.append(file.name)
        else:
            damages.append(f"{file} is not what was published: its hash is not {digest}.")
    for name, header in checkpoint.headers.items():
        damages += _damages(checkpoint.tensors, name, header)
        worked(4 * numbers[name])
    return Integrity(len(numbers), sum(numbers.values()), tuple(hashed), tuple(damages))


def published_hashes(files: Sequence[Path]) -> dict[Path, str]:
    """The hash that each file was published with, where one is at hand: sha256, or git's own (40 digits).

    At hand are `FILE.sha256`, the name that the hub's cache gives a file's content, and what its downloads note beside them.
    """
    found = {}
    for file in files:
        notes = (file.with_name(f"{file.name}.sha256"), file.parent / ".cache" / "huggingface" / "download" / f"{file.name}.metadata")
        stated = [*(word for note in notes for word in _words(note)), file.resolve().name if file.is_symlink() else ""]
        digest = next((word for word in stated if SHA256.fullmatch(word) or (GIT.fullmatch(word) and word == stated[-1])), None)
        if digest:
            found[file] = digest
    return found


def _words(note: Path) -> list[str]:
    try:
        with open(note, "rb") as file:
            return file.read(LONGEST_NOTE).decode("ascii", "replace").lower().split()
    except OSError:
        return []


def _digest(file: Path, like: str, worked: Callable[[int], object]) -> str:
    """The hash of a file: git's of a blob where `like` has 40 digits."""
    try:
        with open(file, "rb", buffering=0) as stream:
            size = file.stat().st_size
            digest = hashlib.sha256() if SHA256.fullmatch(like) else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
                worked(len(chunk))
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror or error}.") from error
    return digest.hexdigest()


class _HeadersAlone(Exception):
    """Raised at the first tensor that a family asks for: by then it has compared all headers with the config."""


class _Closed:
    """Headers without numbers."""

    def __init__(self, headers: Mapping[str, Header]) -> None:
        self.headers = headers

    def on(self, device: str) -> Tensors:
        return self

    def __getitem__(self, name: str) -> NoReturn:
        raise _HeadersAlone


def unaccounted(checkpoint: Checkpoint) -> str | None:
    """What is missing, unexpected or misshapen by its config, as a sentence; None where nothing is."""
    from gencli.precisions.float32 import Float32

    try:
        family(checkpoint.config).build(checkpoint.config, _Closed(checkpoint.headers), Float32())
    except _HeadersAlone:
        return None
    except RunError as error:
        return str(error)
    return None


def _damages(tensors: Tensors, name: str, header: Header) -> list[str]:
    try:
        tensor = tensors[name]
    except RunError as error:
        return [str(error)]
    if tuple(tensor.shape) != header.shape:
        return [f"tensor {shown(name)} has the shape {list(tensor.shape)}, and its header says {list(header.shape)}."]
    wrong = _not_finite(tensor) if tensor.is_floating_point() else 0
    return [f"tensor {shown(name)} holds {wrong:,} numbers that are not finite."] if wrong else []


def _not_finite(tensor: Tensor) -> int:
    rows = tensor.reshape(-1)
    return sum(int((~rows[at : at + BLOCK].isfinite()).sum()) for at in range(0, len(rows), BLOCK))
