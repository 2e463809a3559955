"""llama2.c's layouts give the folder's logits and story; what does not fill its file is refused."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from gencli.errors import RunError
from gencli.formats import open_checkpoint
from gencli.loading import session_from
from weights import logits, random_folder

WITHIN = (
    "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "post_attention_layernorm", "mlp.gate_proj", "mlp.down_proj", "mlp.up_proj",
)  # fmt: skip


def neighbours(tensor: Tensor, heads: int) -> Tensor:
    """Rows i and i + half of a head, which turn together, next to each other."""
    size = len(tensor) // heads
    order = [head * size + part * size // 2 + place for head in range(heads) for place in range(size // 2) for part in (0, 1)]
    return tensor[order]


def export(folder: Path, file: Path, version: int = 0, group: int = 16) -> Path:
    """A folder's weights as llama2.c's export.py writes them."""
    config, tensors = json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")
    layers, heads, kv = config["num_hidden_layers"], config["num_attention_heads"], config["num_key_value_heads"]
    tied = config["tie_word_embeddings"]
    vocabulary, context = config["vocab_size"], config["max_position_embeddings"]
    sizes = [config["hidden_size"], config["intermediate_size"], layers, heads, kv]

    def of(stem: str) -> list[Tensor]:
        found = [tensors[f"model.layers.{layer}.{stem}.weight"] for layer in range(layers)]
        turned = {"self_attn.q_proj": heads, "self_attn.k_proj": kv}.get(stem)
        return [neighbours(each, turned) for each in found] if turned else found

    embedding, norm = [tensors["model.embed_tokens.weight"]], [tensors["model.norm.weight"]]
    head = [] if tied else [tensors["lm_head.weight"]]
    if version == 0:
        angles = [torch.zeros(context, config["hidden_size"] // heads)]
        order = [*embedding, *(each for stem in WITHIN for each in of(stem)), *norm, *angles, *head]
        data = struct.pack("<7i", *sizes, vocabulary if tied else -vocabulary, context)
    else:
        norms = [each for stem in WITHIN if stem.endswith("norm") for each in of(stem)]
        order = [*norms, *norm, *embedding, *(each for stem in WITHIN if not stem.endswith("norm") for each in of(stem)), *head]
        data = struct.pack("<Ii7iB", 0x616B3432, version, *sizes, vocabulary, context, tied)
        data += struct.pack("<i", group) if version == 2 else b""
        data += bytes(256 - len(data))
    for tensor in order:
        data += quantised(tensor, group) if version == 2 and tensor.dim() == 2 else tensor.float().numpy().tobytes()
    file.write_bytes(data)
    return file


def quantised(tensor: Tensor, group: int) -> bytes:
    """Whole numbers from -127 to 127, then a scale a group."""
    rows = tensor.float().reshape(-1, group)
    scales = rows.abs().amax(1, keepdim=True) / 127
    return (rows / scales).round().to(torch.int8).numpy().tobytes() + scales.numpy().astype(np.float32).tobytes()


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("tied", [True, False])
def test_float32_layouts_give_the_folders_logits(fable: Path, tmp_path: Path, version: int, tied: bool) -> None:
    folder = random_folder(tmp_path / "folder", fable, tie_word_embeddings=tied)
    file = export(folder, tmp_path / "model.bin", version)
    assert torch.equal(logits(file), logits(folder))
    assert open_checkpoint(file).config["tie_word_embeddings"] is tied


def test_the_8_bit_layout_is_near(fable: Path, tmp_path: Path) -> None:
    folder = random_folder(tmp_path / "folder", fable)
    file = export(folder, tmp_path / "model.bin", 2)
    stored, found = load_file(folder / "model.safetensors"), open_checkpoint(file).tensors
    assert found.headers.keys() == stored.keys()
    for name, tensor in stored.items():
        step = tensor.abs().max() / 127
        assert (found[name] - tensor).abs().max() <= (step / 2 * 1.01 if tensor.dim() == 2 else 0)
    assert 0 < (logits(file) - logits(folder)).abs().max() < 0.5


def test_the_story_is_the_same(real_data: Path, tmp_path: Path) -> None:
    stories = real_data / "stories260k"
    export(stories, tmp_path / "stories.bin")
    vocabulary = json.loads((stories / "tokenizer.json").read_text())["model"]
    places = {"".join(merge): place for place, merge in reversed(list(enumerate(vocabulary["merges"])))}
    data = struct.pack("<i", max(map(len, vocabulary["vocab"])))
    for piece, id in vocabulary["vocab"].items():
        text = {"<s>": "\n<s>\n", "</s>": "\n</s>\n"}.get(piece, piece).replace("▁", " ").encode()
        data += struct.pack("<fi", -float(places.get(piece, 1000 + id)), len(text)) + text
    (tmp_path / "tokenizer.bin").write_bytes(data)
    session = session_from(tmp_path / "stories.bin")
    decoder = session.decoder(room=201)
    row, ids = decoder.prefill(list(session.tokenizer.start_ids)), []
    while len(ids) < 200:
        ids.append(int(row.argmax()))
        row = decoder.step(ids[-1:])
    text = b"".join(session.vocabulary.token_bytes[each] for each in ids).decode().removeprefix(" ")
    assert text == (stories / "greedy.txt").read_text().removesuffix("\n")
    assert session.vocabulary.end_ids == {1, 2}


def test_what_does_not_fill_the_file_is_refused(fable: Path, tmp_path: Path) -> None:
    folder = random_folder(tmp_path / "folder", fable)
    file = export(folder, tmp_path / "model.bin")
    whole = file.read_bytes()
    for data in (whole[:-4], whole + b"\0"):
        file.write_bytes(data)
        with pytest.raises(RunError, match=rf"asks for {len(whole)} bytes and it has {len(data)}"):
            open_checkpoint(file)
    file.write_bytes(whole[:20])
    with pytest.raises(RunError, match="20 bytes are no checkpoint"):
        open_checkpoint(file)


HEADERS = [
    (0, 96, 2, 4, 2, 4096, 128),
    (64, 96, 2**31 - 1, 4, 2, 4096, 128),
    (64, 96, 2, 3, 3, 4096, 128),
    (64, 96, 2, 4, 3, 4096, 128),
    (4, 96, 2, 4, 2, 4096, 128),
    (64, 96, 2, 4, 2, -(2**31), 128),
    (64, 96, 2, 4, 2, 4096, -1),
]


@pytest.mark.parametrize("numbers", HEADERS)
def test_headers_that_cannot_be(tmp_path: Path, numbers: tuple[int, ...]) -> None:
    (tmp_path / "x.bin").write_bytes(struct.pack("<7i", *numbers) + bytes(300))
    with pytest.raises(RunError, match="damaged"):
        open_checkpoint(tmp_path / "x.bin")


def test_groups_that_do_not_fill_a_row(fable: Path, tmp_path: Path) -> None:
    folder = random_folder(tmp_path / "folder", fable)
    file = export(folder, tmp_path / "model.bin", 2)
    data = bytearray(file.read_bytes())
    for group in (0, -16, 7, 1 << 30):
        data[37:41] = struct.pack("<i", group)
        file.write_bytes(data)
        with pytest.raises(RunError, match="do not fill its rows"):
            open_checkpoint(file)
    assert math.prod(open_checkpoint(export(folder, file)).headers["model.norm.weight"].shape) == 64
