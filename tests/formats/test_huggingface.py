"""A folder in Hugging Face's layout: one file or several, mapped, and refused where the parts do not fit."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gencli.errors import RunError
from gencli.formats import names_in
from gencli.formats.huggingface import Huggingface

ONE, TWO = torch.arange(6.0).view(2, 3), torch.arange(4.0).half()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    save_file({"one": ONE, "two": TWO}, tmp_path / "model.safetensors")
    return tmp_path


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    save_file({"one": ONE}, tmp_path / "a.safetensors")
    save_file({"two": TWO}, tmp_path / "b.safetensors")
    index(tmp_path, {"one": "a.safetensors", "two": "b.safetensors"})
    return tmp_path


def index(folder: Path, weight_map: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


@pytest.mark.parametrize("layout", ["folder", "parts"])
def test_tensors_are_read_by_name(layout: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(layout)
    checkpoint = Huggingface().open(path)
    assert checkpoint.headers == {"one": ("F32", (2, 3)), "two": ("F16", (4,))}
    assert torch.equal(checkpoint.tensors["one"], ONE)
    assert torch.equal(checkpoint.tensors["two"], TWO)
    assert checkpoint.bytes == sum(file.stat().st_size for file in path.glob("*.safetensors"))
    assert (checkpoint.path, checkpoint.name, checkpoint.generation_config) == (path, path.name, {})


def test_weights_are_mapped_not_copied(folder: Path) -> None:
    tensors = Huggingface().open(folder).tensors
    tensor = tensors["one"]
    with open("/proc/self/maps") as maps:
        spans = [line.split()[0].split("-") for line in maps if line.rstrip().endswith("model.safetensors")]
    assert any(int(start, 16) <= tensor.data_ptr() < int(end, 16) for start, end in spans)


def test_the_name_is_the_folders_even_for_a_dot(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert Huggingface().open(Path(".")).name == folder.name


def test_settings_for_generation_are_optional(folder: Path) -> None:
    (folder / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    assert Huggingface().open(folder).generation_config == {"eos_token_id": [1, 2]}
    (folder / "generation_config.json").write_text("[" * 100_000)
    with pytest.raises(RunError, match=r"generation_config.json is damaged"):
        Huggingface().open(folder)


def test_what_it_recognises(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert Huggingface().recognises(folder, names_in(folder))
    assert not Huggingface().recognises(folder, [])
    assert not Huggingface().recognises(folder / "config.json", None)


@pytest.mark.parametrize(
    "weight_map", [None, [], {"one": 5}, {"one": "../a.safetensors"}, {"one": "/etc/passwd"}, {"one": ""}, {"one": "\0.safetensors"}]
)
def test_an_index_that_maps_elsewhere(parts: Path, weight_map: object) -> None:
    index(parts, weight_map)
    with pytest.raises(RunError, match="does not map tensors to files of its folder"):
        Huggingface().open(parts)


def test_an_index_that_misses_a_part(parts: Path) -> None:
    index(parts, {"one": "a.safetensors", "two": "c.safetensors"})
    with pytest.raises(RunError, match="No such file"):
        Huggingface().open(parts)


def test_an_index_that_does_not_fit_its_parts(parts: Path) -> None:
    index(parts, {"one": "a.safetensors", "two": "b.safetensors", "three": "b.safetensors"})
    with pytest.raises(RunError, match=r"tensor 'three' is not in the file 'b.safetensors'"):
        Huggingface().open(parts)
    index(parts, {"one": "a.safetensors"})
    save_file({"one": ONE, "two": TWO}, parts / "a.safetensors")
    with pytest.raises(RunError, match=r"tensor 'two' is not in the index, but in the file 'a.safetensors'"):
        Huggingface().open(parts)


def test_a_file_that_changed_since_it_was_opened(folder: Path) -> None:
    tensors = Huggingface().open(folder).tensors
    os.truncate(folder / "model.safetensors", 20)
    with pytest.raises(RunError, match=r"tensor 'one' of .* cannot be read"):
        tensors["one"]


def test_torchs_own_files_whole_or_in_parts(folder: Path, parts: Path) -> None:
    (folder / "model.safetensors").unlink(missing_ok=True)
    for part in ("a.safetensors", "b.safetensors", "model.safetensors.index.json"):
        (folder / part).unlink()
    torch.save({"one": ONE, "two": TWO}, folder / "pytorch_model.bin")
    assert Huggingface().recognises(folder, names_in(folder))
    checkpoint = Huggingface().open(folder)
    assert checkpoint.headers == {"one": ("F32", (2, 3)), "two": ("F16", (4,))}
    assert torch.equal(checkpoint.tensors["one"], ONE)
    assert torch.equal(checkpoint.tensors["two"], TWO)
    (folder / "pytorch_model.bin").unlink()
    torch.save({"one": ONE}, folder / "pytorch_model-00001-of-00002.bin")
    torch.save({"two": TWO}, folder / "pytorch_model-00002-of-00002.bin")
    weight_map = {"one": "pytorch_model-00001-of-00002.bin", "two": "pytorch_model-00002-of-00002.bin"}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    checkpoint = Huggingface().open(folder)
    assert torch.equal(checkpoint.tensors["one"], ONE)
    assert torch.equal(checkpoint.tensors["two"], TWO)


def test_safetensors_come_before_torchs_files(folder: Path) -> None:
    torch.save({"other": ONE}, folder / "pytorch_model.bin")
    assert set(Huggingface().open(folder).headers) == {"one", "two"}


def test_a_link_out_of_the_folder_is_not_followed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "tokenizer.json"
    elsewhere.write_text("{}")
    (folder / "tokenizer.json").symlink_to(elsewhere)
    with pytest.raises(RunError, match=r"tokenizer.json is a link that leads out of its folder"):
        Huggingface().open(folder)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to("config.json")
    assert Huggingface().open(folder).headers


def test_the_hubs_cache_links_to_its_blobs(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    repository = tmp_path_factory.mktemp("hub") / "models--some--one"
    snapshot, blobs = repository / "snapshots" / "abc", repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, name in enumerate(("config.json", "model.safetensors")):
        (blobs / str(number)).write_bytes((folder / name).read_bytes())
        (snapshot / name).symlink_to(f"../../blobs/{number}")
    assert set(Huggingface().open(snapshot).headers) == {"one", "two"}
    (snapshot / "tokenizer.json").symlink_to(folder / "config.json")
    with pytest.raises(RunError, match="leads out of its repository"):
        Huggingface().open(snapshot)
