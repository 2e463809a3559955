"""Checkpoints converted: the same text from every format, whole or not at all, and nothing overwritten unasked."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader
from safetensors.torch import load_file, save_file

from gencli import load
from gencli.conversion import convert
from gencli.errors import GencliError, RunError, UsageError
from gencli.formats import open_checkpoint
from gencli.formats._gguf_writing import write_gguf
from gencli.loading import session_from
from gencli.vocabularies import vocabulary_of
from weights import logits, random_folder


def converted(source: Path, target: Path, to: str, precision: str | None = None, **others: bool) -> Path:
    convert(open_checkpoint(source), target, to, precision, **others)
    return target


def greedy_text(path: Path, count: int = 200) -> str:
    """What the model writes of itself, likeliest token by token."""
    session = session_from(path)
    decoder = session.decoder(room=count + 1)
    row = decoder.prefill(list(session.tokenizer.start_ids))
    ids: list[int] = []
    while len(ids) < count:
        ids.append(int(row.argmax()))
        row = decoder.step(ids[-1:])
    return b"".join(session.vocabulary.token_bytes[each] for each in ids).decode().removeprefix(" ")


@pytest.fixture
def stories(real_data: Path) -> Path:
    return real_data / "stories260k"


@pytest.fixture
def wanted(stories: Path) -> str:
    return (stories / "greedy.txt").read_text().removesuffix("\n")


def test_a_gguf_file_writes_the_same_story(stories: Path, wanted: str, tmp_path: Path) -> None:
    file = converted(stories, tmp_path / "x.gguf", "gguf", "float32")
    assert greedy_text(file) == wanted
    assert torch.equal(logits(file), logits(stories))
    text = 'Tom\'s dog ran 12  times, \n"why?" é'
    assert session_from(file).tokenizer.encode(text) == session_from(stories).tokenizer.encode(text)


def test_there_and_back_again(stories: Path, wanted: str, tmp_path: Path) -> None:
    back = converted(converted(stories, tmp_path / "x.gguf", "gguf"), tmp_path / "back", "huggingface")
    assert greedy_text(back) == wanted
    assert load_file(back / "model.safetensors").keys() == load_file(stories / "model.safetensors").keys()
    for name, tensor in load_file(stories / "model.safetensors").items():
        assert torch.equal(load_file(back / "model.safetensors")[name], tensor)
    text = 'Tom\'s dog ran 12  times, \n"why?" é'
    before, after = session_from(stories), session_from(back)
    assert after.tokenizer.encode(text) == before.tokenizer.encode(text)
    assert (after.tokenizer.start_ids, after.vocabulary.end_ids) == (before.tokenizer.start_ids, before.vocabulary.end_ids)


def test_torchs_own_file_writes_the_same_story(stories: Path, wanted: str, tmp_path: Path) -> None:
    folder = converted(stories, tmp_path / "x", "huggingface")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert greedy_text(folder) == wanted


def test_a_byte_level_vocabulary_goes_there_and_back(fable: Path, tmp_path: Path) -> None:
    file = converted(fable, tmp_path / "x.gguf", "gguf")
    back = converted(file, tmp_path / "back", "huggingface")
    text = "Once upon a time,\n\n  he'll say 12345 — ünd <|user|>"
    ids = load(str(fable)).tokenizer.encode(text)
    for path in (file, back):
        session = session_from(path)
        assert session.tokenizer.encode(text) == ids
        assert session.vocabulary.end_ids == {0}
        assert session.vocabulary.special_ids == {0, 1, 2}
    assert torch.equal(logits(file), logits(fable))
    assert torch.equal(logits(back), logits(fable))


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_precisions(kind: str, fable: Path, tmp_path: Path) -> None:
    folder = random_folder(tmp_path / "folder", fable, kind)
    exact = logits(folder)
    for to, precision, most in (
        ("huggingface", "float16", 0.02),
        ("gguf", "float16", 0.02),
        ("gguf", "q8_0", 0.3),
        ("huggingface", "float32", 0),
    ):
        target = converted(folder, tmp_path / f"{precision}{'.gguf' if to == 'gguf' else ''}", to, precision)
        assert (logits(target) - exact).abs().max() <= most
        assert precision == "float32" or (logits(target) != exact).any()
        stored = open_checkpoint(target).stored or {name: header.dtype for name, header in open_checkpoint(target).headers.items()}
        assert {"float16": "F16", "float32": "F32", "q8_0": "Q8_0"}[precision] in stored.values()


def test_rows_that_do_not_fill_blocks_are_kept_in_float16(fable: Path, tmp_path: Path) -> None:
    folder = random_folder(tmp_path / "folder", fable, intermediate_size=72)
    file = converted(folder, tmp_path / "x.gguf", "gguf", "q8_0")
    kinds = {each.name: each.tensor_type.name for each in GGUFReader(file).tensors}
    assert (kinds["blk.0.ffn_down.weight"], kinds["blk.0.ffn_up.weight"], kinds["blk.0.attn_norm.weight"]) == ("F16", "Q8_0", "F32")


def test_the_packages_reader_reads_what_is_written(stories: Path, tmp_path: Path) -> None:
    reader = GGUFReader(converted(stories, tmp_path / "x.gguf", "gguf", "float32"))
    found = {key: field.contents() for key, field in reader.fields.items()}
    source = json.loads((stories / "tokenizer.json").read_text())
    assert found["general.architecture"] == "llama"
    assert found["tokenizer.ggml.tokens"] == list(source["model"]["vocab"])
    assert found["tokenizer.ggml.token_type"][:4] == [2, 3, 3, 6]
    assert (found["tokenizer.ggml.bos_token_id"], found["tokenizer.ggml.eos_token_id"], found["tokenizer.ggml.add_bos_token"]) == (
        1,
        2,
        True,
    )
    assert found["llama.attention.head_count_kv"] == 4
    assert len(reader.tensors) == len(open_checkpoint(stories).headers)
    held = {each.name: each.data for each in reader.tensors}
    assert torch.equal(
        torch.from_numpy(held["token_embd.weight"].copy()), load_file(stories / "model.safetensors")["model.embed_tokens.weight"]
    )


LLAMA_3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
LINEAR = {"rope_type": "linear", "factor": 2.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}


@pytest.mark.parametrize("scaling", [LLAMA_3, LINEAR, YARN], ids=lambda each: each["rope_type"])
@pytest.mark.parametrize("nested", [True, False])
def test_stretched_positions_come_along(fable: Path, tmp_path: Path, scaling: dict[str, Any], nested: bool) -> None:
    both = {"rope_parameters": {**scaling, "rope_theta": 500000.0}} if nested else {"rope_scaling": scaling, "rope_theta": 500000.0}
    checkpoint = open_checkpoint(random_folder(tmp_path / "folder", fable))
    for key in ("rope_theta", "rope_scaling"):
        checkpoint.config.pop(key, None)
    checkpoint.config.update(both)
    with open(tmp_path / "x.gguf", "wb") as file:
        write_gguf(file, checkpoint, vocabulary_of(checkpoint), "F16")
    found = open_checkpoint(tmp_path / "x.gguf").config
    assert (found["rope_scaling"], found["rope_theta"]) == (scaling, 500000.0)


def test_a_chat_template_comes_along(fable: Path, tmp_path: Path) -> None:
    folder = random_folder(tmp_path / "folder", fable)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": "{{ messages[0] }}"}))
    file = converted(folder, tmp_path / "x.gguf", "gguf")
    assert open_checkpoint(file).vocabulary.chat_template == "{{ messages[0] }}"
    back = converted(file, tmp_path / "back", "huggingface")
    assert json.loads((back / "tokenizer_config.json").read_text())["chat_template"] == "{{ messages[0] }}"
    (folder / "chat_template.jinja").write_text("other")
    assert vocabulary_of(open_checkpoint(folder)).chat_template == "other"


def test_nothing_is_overwritten_unasked(fable: Path, tmp_path: Path) -> None:
    folder = random_folder(tmp_path / "folder", fable)
    file = tmp_path / "x.gguf"
    file.write_text("mine")
    with pytest.raises(UsageError, match=r"x.gguf is there already; --force replaces it"):
        converted(folder, file, "gguf")
    assert file.read_text() == "mine"
    assert converted(folder, file, "gguf", force=True).stat().st_size > 1000
    with pytest.raises(UsageError, match="is there already"):
        converted(folder, tmp_path / "folder", "huggingface")
    own = tmp_path / "own"
    (own / "photos").mkdir(parents=True)
    for target in (own, file):
        with pytest.raises(UsageError, match="holds more than a checkpoint, and is not replaced"):
            converted(folder, target, "huggingface", force=True)
    assert (own / "photos").is_dir()
    (tmp_path / "d.gguf").mkdir()
    with pytest.raises(UsageError, match="is a folder, and a GGUF file does not replace one"):
        converted(folder, tmp_path / "d.gguf", "gguf", force=True)
    old = random_folder(tmp_path / "old", fable, "gpt2")
    assert open_checkpoint(converted(folder, old, "huggingface", force=True)).config["model_type"] == "llama"
    assert sorted(os.listdir(tmp_path)) == ["d.gguf", "folder", "old", "own", "x.gguf"]


Damage = Callable[[Path], object]
REFUSED: dict[str, tuple[Damage, str, str, str | None, str]] = {
    "an unknown format": (lambda folder: None, "x", "onnx", None, "no format to write 'onnx'"),
    "a precision that it lacks": (lambda folder: None, "x", "huggingface", "q8_0", "no precision of huggingface 'q8_0'"),
    "another ending": (lambda folder: None, "x", "gguf", None, "a GGUF file's name ends in .gguf"),
    "no folder": (lambda folder: None, "none/x.gguf", "gguf", None, "there is no folder"),
    "too large for float16": (lambda folder: overflow(folder), "x.gguf", "gguf", "float16", "holds 1e\\+05, which float16 cannot hold"),
    "another architecture": (lambda folder: change(folder, model_type="other"), "x.gguf", "gguf", None, "Choices: gemma2"),
    "another activation": (lambda folder: change(folder, hidden_act="gelu"), "x.gguf", "gguf", None, "always have hidden_act 'silu'"),
    "a tensor that is not known": (lambda folder: extra(folder), "x.gguf", "gguf", None, "'other.weight' has no name in GGUF's"),
}


def change(folder: Path, **values: object) -> None:
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, **values}))


def overflow(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = 1e5
    save_file(tensors, folder / "model.safetensors")


def extra(folder: Path) -> None:
    save_file({**load_file(folder / "model.safetensors"), "other.weight": torch.zeros(3)}, folder / "model.safetensors")


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_written_leaves_nothing(kind: str, fable: Path, tmp_path: Path) -> None:
    folder = random_folder(tmp_path / "folder", fable)
    damage, target, to, precision, says = REFUSED[kind]
    damage(folder)
    with pytest.raises(GencliError, match=says):
        converted(folder, tmp_path / target, to, precision)
    assert os.listdir(tmp_path) == ["folder"]


def test_a_full_disk_leaves_the_old_file(fable: Path, tmp_path: Path) -> None:
    folder = random_folder(tmp_path / "folder", fable)
    (tmp_path / "x.gguf").write_text("mine")

    def full(done: int, total: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match="No space left on device"):
        convert(open_checkpoint(folder), tmp_path / "x.gguf", "gguf", force=True, told=full)
    assert (tmp_path / "x.gguf").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["folder", "x.gguf"]


def test_progress_ends_with_all_of_it(fable: Path, tmp_path: Path) -> None:
    folder, told = random_folder(tmp_path / "folder", fable), []
    size = convert(open_checkpoint(folder), tmp_path / "x.gguf", "gguf", told=lambda done, total: told.append((done, total)))
    assert size == (tmp_path / "x.gguf").stat().st_size
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
