"""A checkpoint written anew, in another format or precision: whole or not at all. Knows no terminal."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gencli.description import licence_of
from gencli.errors import RunError, UsageError, unknown
from gencli.formats import Checkpoint
from gencli.models import family
from gencli.vocabularies import tokenizer_files, vocabulary_of

# format -> precision -> what its file calls the type of the products
FORMATS: Mapping[str, Mapping[str, str]] = {
    "huggingface": {"float32": "F32", "float16": "F16"},
    "gguf": {"float32": "F32", "float16": "F16", "q8_0": "Q8_0"},
}
# what lies beside the weights and is taken along as it is
TAKEN = ("README.md", "LICENSE", "LICENSE.txt")
# what a folder may hold that `force` replaces: nothing but a checkpoint
REPLACEABLE = {".safetensors", ".json", ".bin", ".model", ".jinja", ".txt", ".md", ".tiktoken", ""}


def convert(
    checkpoint: Checkpoint,
    target: Path,
    to: str,
    precision: str | None = None,
    force: bool = False,
    told: Callable[[int, int], object] = lambda done, total: None,
) -> int:
    """Write the checkpoint to `target`, a folder or a `.gguf` file; `told` hears of bytes done and in all. Returns the bytes written.

    `precision` None: float32 for what is stored in float32, else float16. Raises `UsageError` where the target is
    there already (and not `force`), or the format does not have the precision, architecture or tokenizer; `RunError`
    where the checkpoint is damaged or the disk is full. The target is then as it was.
    """
    if to not in FORMATS:
        raise unknown("format to write", to, FORMATS)
    precision = precision or _stored(checkpoint)
    if precision not in FORMATS[to]:
        raise unknown(f"precision of {to}", precision, FORMATS[to])
    _refuse_to_overwrite(target, to, force)
    family(checkpoint.config).describe(checkpoint.config)  # what it says is possible
    beside = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        if to == "gguf":
            _write_gguf(checkpoint, beside, FORMATS[to][precision], told)
        else:
            _write_folder(checkpoint, beside, precision, told)
        size = sum(file.stat().st_size for file in (beside.iterdir() if beside.is_dir() else [beside]))
        _put_in_place(beside, target)
    except OSError as error:
        raise RunError(f"{target} cannot be written: {error.strerror or error}.") from error
    finally:
        _remove(beside)
    return size


def _stored(checkpoint: Checkpoint) -> str:
    products = [name for name, header in checkpoint.headers.items() if len(header.shape) > 1]
    return "float32" if {checkpoint.stored.get(name, checkpoint.headers[name].dtype) for name in products} == {"F32"} else "float16"


def _refuse_to_overwrite(target: Path, to: str, force: bool) -> None:
    if to == "gguf" and target.suffix != ".gguf":
        raise UsageError(f"a GGUF file's name ends in .gguf, and {target.name!r} does not.")
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent} to write to.")
    if not os.path.lexists(target):
        return
    if not force:
        raise UsageError(f"{target} is there already; --force replaces it.")
    if to == "gguf" and target.is_dir():
        raise UsageError(f"{target} is a folder, and a GGUF file does not replace one.")
    if to != "gguf" and not (target.is_dir() and not target.is_symlink() and all(map(_replaceable, target.iterdir()))):
        raise UsageError(f"{target} is no folder, or holds more than a checkpoint, and is not replaced.")


def _replaceable(file: Path) -> bool:
    return file.is_file() and file.suffix in REPLACEABLE


def _write_gguf(checkpoint: Checkpoint, file: Path, kind: str, told: Callable[[int, int], object]) -> None:
    from gencli.formats._gguf_writing import write_gguf

    vocabulary = vocabulary_of(checkpoint)
    if licence := licence_of(checkpoint):  # the card does not come along
        checkpoint = replace(checkpoint, config={**checkpoint.config, "license": licence})
    with open(file, "xb") as stream:
        write_gguf(stream, checkpoint, vocabulary, kind, told)
        _settle(stream.fileno())


def _write_folder(checkpoint: Checkpoint, folder: Path, precision: str, told: Callable[[int, int], object]) -> None:
    from gencli.formats._safetensors_writing import write_safetensors

    files = tokenizer_files(checkpoint)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for name in TAKEN:
        if checkpoint.path.is_dir() and (checkpoint.path / name).is_file():
            shutil.copyfile(checkpoint.path / name, folder / name)
    _write_json(folder / "config.json", {**checkpoint.config, "torch_dtype": precision})
    if checkpoint.generation_config:
        _write_json(folder / "generation_config.json", checkpoint.generation_config)
    with open(folder / "model.safetensors", "xb") as stream:
        write_safetensors(stream, checkpoint.tensors, FORMATS["huggingface"][precision], told)
        _settle(stream.fileno())


def _write_json(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", "utf-8")


def _settle(file: int) -> None:
    """On the disk before it gets its name: a power cut leaves the old or the new, whole."""
    os.fsync(file)


def _put_in_place(beside: Path, target: Path) -> None:
    if target.is_dir() and beside.is_dir():
        old = target.with_name(f".{target.name}.{os.getpid()}.old")
        os.rename(target, old)
        try:
            os.rename(beside, target)
        except OSError:
            os.rename(old, target)
            raise
        _remove(old)
    else:
        os.replace(beside, target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
