"""The shelf of formats: a path -> a Checkpoint, in Hugging Face names. Knows no model and needs no torch.

A format is a class with `recognises` and `open`. Here lies what every format stands on: a checkpoint
as plain values, and the reading of JSON. Whoever wrote a file may have damaged or forged it: what it
says is checked in full before anything of its size is allocated.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from gencli.errors import RunError, shown
from gencli.registry import find, names

if TYPE_CHECKING:
    from torch import Tensor

# bits a number, by the names that safetensors files use
DTYPES: dict[str, int] = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}
# bytes: room for 30,000 tensors where real files have some hundred; a forged one may cost 50 times as much memory
LARGEST_JSON = LARGEST_HEADER = 1 << 22
MOST_DIGITS = 100  # of a whole number in JSON: a tokenizer_config.json's model_max_length has 31 where it means "any"
MOST_AXES = 8


class Header(NamedTuple):
    """What a file says of one tensor: its dtype by safetensors' name ("F16") and its shape."""

    dtype: str
    shape: tuple[int, ...]


class Tensors(Protocol):
    """The tensors of a checkpoint by name, read when asked for; `headers` knows them without reading."""

    @property
    def headers(self) -> Mapping[str, Header]: ...

    def __getitem__(self, name: str) -> Tensor:
        """The tensor as it lies in the file; raises `RunError` where it cannot be read."""
        ...

    def on(self, device: str) -> Tensors:
        """The same tensors, read to this device ("cpu", "cuda", "mps")."""
        ...


@dataclass(frozen=True)
class GGUFVocabulary:
    """A tokenizer as a GGUF file's metadata holds it; lists are by token id.

    `kind` is the metadata's word for how it merges ("gpt2" byte-level BPE, "llama" SentencePiece BPE) and `pre` the
    name of the pre-tokenizer ("gpt-2", "llama-bpe", "" where none is stated). `scores`, `merges` ("left right")
    and `types` (1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte) are empty where absent, else as
    long as `tokens` (`merges`: any length). Ids are below the number of tokens; None is "not stated".
    """

    kind: str
    pre: str
    tokens: list[str]
    scores: list[float]
    types: list[int]
    merges: list[str]
    bos: int | None = None
    eos: int | None = None
    unk: int | None = None
    add_bos: bool | None = None
    add_space_prefix: bool = True
    chat_template: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was opened, not yet read.

    `bytes` is the size of its weight files; `tokenizer_files` the folder that holds its tokenizer, unless its
    `vocabulary` is in the file with the weights; `generation_config` is empty where there is none; `stored` says
    how tensors lie in the file ("Q4_K") where that is not the type they are read as. `published_tokenizer` names the one
    ("gpt2") that a checkpoint takes where it brings none.
    """

    path: Path
    name: str
    config: dict[str, Any]
    generation_config: dict[str, Any]
    tokenizer_files: Path
    tensors: Tensors
    bytes: int
    vocabulary: GGUFVocabulary | None = None
    stored: Mapping[str, str] = field(default_factory=dict)
    published_tokenizer: str | None = None

    @property
    def headers(self) -> Mapping[str, Header]:
        """(dtype, shape) of every tensor by its name."""
        return self.tensors.headers


class Format(Protocol):
    """What every format offers."""

    def recognises(self, path: Path, names: Collection[str] | None) -> bool:
        """Whether this folder, with these `names` in it, or file (None) is of this format, as far as names tell."""
        ...

    def open(self, path: Path) -> Checkpoint:
        """The checkpoint; raises `RunError` where it is damaged."""
        ...


def format_of(path: Path, names_there: Collection[str] | None = None) -> Format | None:
    """The first format that recognises what lies at a path, as far as names tell; a folder is listed once, unless its names are given."""
    if names_there is None:
        names_there = names_in(path)
    shelf: Iterable[Format] = (find("formats", name)() for name in names("formats"))
    return next((form for form in shelf if form.recognises(path, names_there)), None)


def names_in(path: Path) -> Collection[str] | None:
    """The names of what lies in a folder; None for what is none. Raises `OSError` where it may not be read."""
    try:
        return frozenset(os.listdir(path))
    except (NotADirectoryError, FileNotFoundError):
        return None


def open_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint at a path, by the first format that recognises it.

    Raises `RunError` where none does, or where the checkpoint is unreadable or damaged.
    """
    try:
        form = format_of(path)
        if form is not None:
            return form.open(path)
    except OSError as error:
        raise unreadable(path, error) from error
    if path.is_dir():
        if files := sorted(each.name for each in path.glob("*.gguf")):
            raise RunError(f"{path} is no checkpoint, and holds several; name one of its files. Choices: {', '.join(map(shown, files))}.")
        raise RunError(f"{path} is no checkpoint: config.json or model.safetensors is missing there.")
    raise RunError(f"{path} is no checkpoint: read are folders, and files of the formats {', '.join(names('formats'))}.")


def check_links(folder: Path, entries: Iterable[Path] | None = None) -> None:
    """Refuse symbolic links that lead out of a checkpoint's folder, where a person did not put what is read.

    `entries` of the folder are looked at, or all. In the hub's cache, what stands under snapshots/REVISION links to files in
    blobs/ of the same repository, and those to files that repositories share, in blobs/ beside them; those are meant.
    """
    root = Path(os.path.realpath(folder))
    word, places = "its folder", {root}
    for snapshot in (root, *root.parents):
        repo = snapshot.parent.parent
        if snapshot.parent.name == "snapshots" and (repo / "blobs").is_dir():
            word, places = "its repository", {repo / "blobs", repo.parent / "blobs"}
            break
    for entry in sorted(folder.iterdir()) if entries is None else entries:
        if entry.is_symlink() and places.isdisjoint(Path(os.path.realpath(entry)).parents):
            raise RunError(f"{entry} is a link that leads out of {word}, and is not followed; put the file itself there.")


def unreadable(path: Path, error: OSError) -> RunError:
    """The error for a file that the system does not let us read."""
    return RunError(f"{path} cannot be read: {error.strerror or error}.")


def size_of(file: Path) -> int:
    """The bytes of a regular file; raises `RunError` for anything else."""
    try:
        status = os.stat(file)
    except OSError as error:
        raise unreadable(file, error) from error
    if not stat.S_ISREG(status.st_mode):  # a pipe would never end, a folder never begin
        raise RunError(f"{file} is not a file.")
    return status.st_size


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises `RunError` where it is unreadable, too large or not an object."""
    if size_of(file) > LARGEST_JSON:
        raise RunError(f"{file} is larger than {LARGEST_JSON >> 20} MB, which no configuration is.")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise unreadable(file, error) from error
    return parse_json(data, str(file))


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """The object in a piece of JSON; strict, and cheap whatever it holds. Raises `RunError`."""

    def whole(digits: str) -> int:
        if len(digits) > MOST_DIGITS:
            raise ValueError(f"a number of {len(digits)} digits")
        return int(digits)

    def named(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ValueError(f"{shown(key)} stands in it twice")
            found[key] = value
        return found

    def constant(name: str) -> Any:
        raise ValueError(f"{name} is no number of JSON")

    try:
        value = json.loads(data.decode("utf-8"), parse_int=whole, object_pairs_hook=named, parse_constant=constant)
    except RecursionError as error:
        raise RunError(f"{where} is damaged: its brackets are nested too deeply.") from error
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are such too
        raise RunError(f"{where} is damaged: {error}.") from error
    if not isinstance(value, dict):
        raise RunError(f"{where} is damaged: it holds no JSON object.")
    return value
