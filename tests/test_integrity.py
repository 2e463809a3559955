"""A checkpoint is whole, or the tensor or file that is not is named."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gencli.conversion import convert
from gencli.formats import open_checkpoint
from gencli.integrity import check, published_hashes
from weights import random_folder


@pytest.fixture
def folder(fable: Path, tmp_path: Path) -> Path:
    return random_folder(tmp_path / "folder", fable)


def damages(path: Path) -> tuple[str, ...]:
    return check(open_checkpoint(path)).damages


def test_one_that_is_whole(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    found = check(open_checkpoint(folder), lambda done, total: told.append((done, total)))
    tensors = load_file(folder / "model.safetensors")
    assert (found.tensors, found.numbers) == (len(tensors), sum(map(torch.Tensor.numel, tensors.values())))
    assert (found.hashed, found.damages) == ((), ())
    assert told[-1][0] == told[-1][1]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_numbers_that_are_none_are_named(folder: Path, value: float, dtype: torch.dtype) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(folder / "model.safetensors").items()}
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4:6] = value
    save_file(tensors, folder / "model.safetensors")
    assert damages(folder) == ("tensor 'model.layers.1.mlp.up_proj.weight' holds 2 numbers that are not finite.",)


def test_a_missing_and_a_misshapen_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    norm = tensors.pop("model.norm.weight")
    save_file(tensors, folder / "model.safetensors")
    assert damages(folder) == ("the checkpoint lacks the tensor model.norm.weight of shape [64].",)
    save_file({**tensors, "model.norm.weight": norm[:32].clone()}, folder / "model.safetensors")
    [only] = damages(folder)
    assert only.startswith("tensor 'model.norm.weight' has the shape [32], and config.json asks for [64]")


def test_a_quantised_file_with_a_scale_that_is_none(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    convert(open_checkpoint(folder), file, "gguf", "q8_0")
    assert damages(file) == ()
    data = bytearray(file.read_bytes())
    data[-34:-32] = b"\x00\x7e"  # the scale of the last block, as float16's NaN
    file.write_bytes(data)
    [only] = damages(file)
    assert only.endswith("holds 32 numbers that are not finite.")


@pytest.mark.parametrize("text", ["{}", "{}  model.safetensors\n", "{} *model.safetensors\n"])
def test_a_hash_beside_the_file(folder: Path, text: str) -> None:
    file = folder / "model.safetensors"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (folder / "model.safetensors.sha256").write_text(text.format(digest))
    assert check(open_checkpoint(folder)).hashed == ("model.safetensors",)
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    file.write_bytes(data)
    found = check(open_checkpoint(folder))
    assert (found.hashed, found.damages) == ((), (f"{file} is not what was published: its hash is not {digest}.",))


def test_a_hash_of_one_file(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    convert(open_checkpoint(folder), file, "gguf")
    (tmp_path / "x.gguf.sha256").write_text(hashlib.sha256(file.read_bytes()).hexdigest())
    assert check(open_checkpoint(file)).hashed == ("x.gguf",)


def test_the_hubs_cache_names_its_files_by_their_hash(folder: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--some--one"
    snapshot, blobs = repository / "snapshots" / "abc", repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for file in folder.iterdir():
        data = file.read_bytes()
        git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        name = hashlib.sha256(data).hexdigest() if file.suffix == ".safetensors" else git
        (blobs / name).write_bytes(data)
        (snapshot / file.name).symlink_to(f"../../blobs/{name}")
    found = check(open_checkpoint(snapshot))
    assert (set(found.hashed), found.damages) == ({"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}, ())
    config = (snapshot / "config.json").resolve()
    config.write_text(json.dumps({**json.loads(config.read_text()), "other": 1}))
    [only] = check(open_checkpoint(snapshot)).damages
    assert only.startswith(f"{snapshot / 'config.json'} is not what was published")


def test_what_the_hubs_downloads_note(folder: Path) -> None:
    notes = folder / ".cache" / "huggingface" / "download"
    notes.mkdir(parents=True)
    file = folder / "model.safetensors"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (notes / "model.safetensors.metadata").write_text(f"{'a' * 40}\n{digest}\n1732500000.5\n")
    assert published_hashes([file]) == {file: digest}
    shutil.rmtree(folder / ".cache")
    assert published_hashes([file]) == {}
