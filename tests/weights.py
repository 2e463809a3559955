"""Small checkpoints with random weights, as folders that any format is converted from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from gencli.formats import open_checkpoint
from gencli.models import family
from gencli.precisions.float32 import Float32

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 4096,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
GPT2: dict[str, Any] = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "vocab_size": 4096,
    "n_embd": 64,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 128,
    "eos_token_id": 0,
}


def _llama(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor's name and shape."""
    width, mlp, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    head = config.get("head_dim") or width // config["num_attention_heads"]
    heads, kv = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    yield "model.embed_tokens.weight", (vocabulary, width)
    yield "model.norm.weight", (width,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (vocabulary, width)
    products = {
        "self_attn.q_proj": (heads, width),
        "self_attn.k_proj": (kv, width),
        "self_attn.v_proj": (kv, width),
        "self_attn.o_proj": (width, heads),
        "mlp.gate_proj": (mlp, width),
        "mlp.up_proj": (mlp, width),
        "mlp.down_proj": (width, mlp),
    }
    for layer in range(config["num_hidden_layers"]):
        for name, shape in products.items():
            yield f"model.layers.{layer}.{name}.weight", shape
            if config.get("attention_bias" if "attn" in name else "mlp_bias"):
                yield f"model.layers.{layer}.{name}.bias", shape[:1]
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"model.layers.{layer}.{norm}.weight", (width,)


def _gpt2(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    width = config["n_embd"]
    mlp = config.get("n_inner") or 4 * width
    yield "transformer.wte.weight", (config["vocab_size"], width)
    yield "transformer.wpe.weight", (config["n_positions"], width)
    if not config.get("tie_word_embeddings", True):
        yield "lm_head.weight", (config["vocab_size"], width)
    products = {"attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width), "mlp.c_fc": (width, mlp), "mlp.c_proj": (mlp, width)}
    for layer in range(config["n_layer"]):
        for name, shape in products.items():
            yield f"transformer.h.{layer}.{name}.weight", shape
            yield f"transformer.h.{layer}.{name}.bias", shape[1:]
    for norm in ("ln_f", *(f"h.{layer}.{name}" for layer in range(config["n_layer"]) for name in ("ln_1", "ln_2"))):
        yield from ((f"transformer.{norm}.{part}", (width,)) for part in ("weight", "bias"))


KINDS = {"llama": (LLAMA, _llama), "gpt2": (GPT2, _gpt2)}


def random_folder(folder: Path, tokenizer: Path, kind: str = "llama", dtype: torch.dtype = torch.float32, **settings: Any) -> Path:
    """A folder with a random model of this kind and the tokenizer of another folder."""
    values, shapes = KINDS[kind]
    config = {**values, **settings}
    generator = torch.Generator().manual_seed(1)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, folder)
    tensors = {}
    for name, shape in shapes(config):
        # norms and biases differ from place to place too, so that one in a wrong place shows
        centre = 1.0 if len(shape) == 1 and name.endswith("weight") else 0.0
        tensors[name] = (centre + 0.1 * torch.randn(shape, generator=generator)).to(dtype)
    save_file(tensors, folder / "model.safetensors")
    return folder


def logits(path: Path, count: int = 12) -> Tensor:
    """What the checkpoint at a path makes of some ids, in float32."""
    checkpoint = open_checkpoint(path)
    model = family(checkpoint.config).build(checkpoint.config, checkpoint.tensors, Float32())
    return model(torch.arange(7, 7 + count)[None] * 5 % model.vocab_size)


def split(whole: Path, target: Path, tensors: int = 5, lone: bool = False) -> list[Path]:
    """A GGUF model written anew by gguf's own writer, so many tensors a file; `lone`: the first file has the metadata alone."""
    from gguf import GGUFReader, GGUFValueType, GGUFWriter

    reader = GGUFReader(whole)
    word = reader.fields["general.architecture"].contents()
    writer = GGUFWriter(target, word, split_max_tensors=tensors, small_first_shard=lone)
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            kind = field.types[0]
            writer.add_key_value(field.name, field.contents(), kind, field.types[-1] if kind is GGUFValueType.ARRAY else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(target.parent.glob(f"{target.stem}-*.gguf"))
