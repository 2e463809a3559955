"""nanoGPT's ckpt.pt gives what GPT-2 gives with the same weights, with biases and without."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from gencli.conversion import convert
from gencli.errors import RunError
from gencli.formats import open_checkpoint
from gencli.formats.nanogpt import Nanogpt
from gencli.loading import session_from
from gencli.tokenizers._cached import MERGES, VOCAB
from weights import GPT2, logits, random_folder

PRODUCTS = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
ARGUMENTS = {"n_layer": 2, "n_head": 4, "n_embd": 64, "block_size": 128, "bias": True, "vocab_size": 4096, "dropout": 0.0}


def saved(tensors: dict[str, Tensor], file: Path, prefix: str = "", **arguments: Any) -> Path:
    """A ckpt.pt as nanoGPT's train.py writes it: linear layers (out, in), a tied head, masks, the optimiser."""
    state = {name: tensor.t().contiguous() if name.endswith(PRODUCTS) else tensor for name, tensor in tensors.items()}
    state["lm_head.weight"] = state["transformer.wte.weight"]
    state["transformer.h.0.attn.bias"] = torch.tril(torch.ones(1, 1, 128, 128))
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(3))], lr=1e-3)
    optimizer.param_groups[0]["params"][0].grad = torch.ones(3)
    optimizer.step()
    value = {
        "model": {prefix + name: tensor for name, tensor in state.items()},
        "optimizer": optimizer.state_dict(),
        "model_args": {**ARGUMENTS, **arguments},
        "iter_num": 2000,
        "best_val_loss": torch.tensor(1.4697),
        "config": {"out_dir": "out", "learning_rate": 1e-3, "compile": True},
    }
    torch.save(value, file)
    return file


@pytest.fixture
def folder(fable: Path, tmp_path: Path) -> Path:
    return random_folder(tmp_path / "gpt2", fable, "gpt2", activation_function="gelu")


@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
def test_it_computes_what_gpt2_computes(folder: Path, tmp_path: Path, prefix: str) -> None:
    file = saved(load_file(folder / "model.safetensors"), tmp_path / "ckpt.pt", prefix)
    assert torch.equal(logits(file), logits(folder))
    checkpoint = open_checkpoint(tmp_path / "ckpt.pt")
    assert (checkpoint.name, checkpoint.bytes) == ("ckpt", file.stat().st_size)
    assert open_checkpoint(tmp_path).name == tmp_path.name


def test_without_biases(folder: Path, tmp_path: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    zero = {name: torch.zeros_like(tensor) if name.endswith("bias") else tensor for name, tensor in tensors.items()}
    with_zeros = saved(zero, tmp_path / "a.pt")
    without = saved({name: tensor for name, tensor in tensors.items() if not name.endswith("bias")}, tmp_path / "b.pt", bias=False)
    assert torch.equal(logits(without), logits(with_zeros))
    assert open_checkpoint(without).headers["transformer.h.1.attn.c_attn.bias"] == ("F32", (192,))


def test_before_biases_were_an_argument_it_was_gpt2s_own_activation(folder: Path, tmp_path: Path) -> None:
    file = saved(load_file(folder / "model.safetensors"), tmp_path / "ckpt.pt")
    assert open_checkpoint(file).config["activation_function"] == "gelu"
    value = torch.load(file, weights_only=True)
    del value["model_args"]["bias"]
    torch.save(value, file)
    assert open_checkpoint(file).config["activation_function"] == "gelu_new"


def test_its_characters_lie_beside_it(folder: Path, tmp_path: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    characters = ["\n", " ", "!", *"abcdefgh"]
    tensors["transformer.wte.weight"] = tensors["transformer.wte.weight"][: len(characters)].clone()
    saved(tensors, tmp_path / "ckpt.pt", vocab_size=len(characters))
    stoi = {character: id for id, character in enumerate(characters)}
    meta = {"vocab_size": len(characters), "itos": dict(enumerate(characters)), "stoi": stoi}
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(meta))
    session = session_from(tmp_path)
    assert session.tokenizer.encode("bad egg!\n") == [stoi[each] for each in "bad egg!\n"]
    assert session.vocabulary.size == len(characters)


@pytest.mark.parametrize("size", [50257, 50304])
def test_gpt2s_vocabulary_is_taken_where_none_lies_beside_it(
    folder: Path, tmp_path: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Out of tiktoken's cache; the end of a text is GPT-2's, and a folder that is written brings its tokenizer along."""
    tensors = load_file(folder / "model.safetensors")
    tensors["transformer.wte.weight"] = tensors["transformer.wte.weight"][torch.arange(size) % 4096].clone()
    (tmp_path / "out").mkdir()
    file = saved(tensors, tmp_path / "out" / "ckpt.pt", vocab_size=size)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(RunError, match=r"out holds no tokenizer, and its model takes GPT-2's vocabulary"):
        session_from(file)
    (tmp_path / "cache").mkdir()
    model = json.loads((real_data / "tokenizers" / "gpt2.tokenizer.json").read_text())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (tmp_path / "cache" / VOCAB[0]).write_text(json.dumps(model["vocab"]))
    (tmp_path / "cache" / MERGES[0]).write_text("\n".join(("#version: 0.2", *merges, "")))
    session = session_from(file)
    assert session.tokenizer.encode("Hello world") == [15496, 995]
    assert (session.vocabulary.size, session.vocabulary.end_ids) == (size, {50256})
    convert(open_checkpoint(file), tmp_path / "folder-of-it", "huggingface", "float32")
    written = session_from(tmp_path / "folder-of-it")
    assert (written.tokenizer.encode("Hello world"), written.vocabulary.end_ids) == ([15496, 995], {50256})


def test_no_vocabulary_is_taken_for_a_model_of_another_size(folder: Path, tmp_path: Path) -> None:
    file = saved(load_file(folder / "model.safetensors"), tmp_path / "ckpt.pt")
    with pytest.raises(RunError, match=r"holds no tokenizer\.json, so there is no way from text to tokens"):
        session_from(file)


def test_what_is_none(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.pt"
    torch.save({"model": {}}, file)
    with pytest.raises(RunError, match="is no checkpoint of nanoGPT: it has no 'model' and 'model_args'"):
        open_checkpoint(file)
    saved(load_file(folder / "model.safetensors"), file, n_layer="2")
    with pytest.raises(RunError, match="model_args must say n_layer as a whole number, not '2'"):
        open_checkpoint(file)
    saved(load_file(folder / "model.safetensors"), file, n_layer=3)
    with pytest.raises(RunError, match=r"lacks the tensor transformer\.h\.2"):
        logits(file)
    assert GPT2["model_type"] == open_checkpoint(file).config["model_type"]
    for name in ("config.json", "x.bin"):
        (tmp_path / name).write_bytes(b"PK\3\4")
        assert not Nanogpt().recognises(tmp_path / name, None)
