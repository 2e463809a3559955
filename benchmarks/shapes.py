"""Checkpoints of real shapes with random weights, as Hugging Face folders and as GGUF files. Knows no program that reads them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Shape:
    """A model's size; `kv_heads` below `heads` shares keys and values between heads."""

    family: str
    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    context: int = 1024


SHAPES = {
    "gpt2-124m": Shape("gpt2", 50_257, 768, 12, 12, 12, 3072),
    "llama-135m": Shape("llama", 49_152, 576, 30, 9, 3, 1536),
    "llama-1.1b": Shape("llama", 49_152, 2048, 22, 32, 4, 5632),
}
Sizes = tuple[int, ...]


def _gpt2(shape: Shape) -> Iterator[tuple[str, str, Sizes]]:
    """(Hugging Face name, GGUF name, shape there: inputs first) of every tensor."""
    width, mlp = shape.width, shape.mlp
    yield "transformer.wte.weight", "token_embd.weight", (shape.vocabulary, width)
    yield "transformer.wpe.weight", "position_embd.weight", (shape.context, width)
    yield from ((f"transformer.ln_f.{part}", f"output_norm.{part}", (width,)) for part in ("weight", "bias"))
    products = {
        ("attn.c_attn", "attn_qkv"): (width, 3 * width),
        ("attn.c_proj", "attn_output"): (width, width),
        ("mlp.c_fc", "ffn_up"): (width, mlp),
        ("mlp.c_proj", "ffn_down"): (mlp, width),
    }
    for layer in range(shape.layers):
        ours, theirs = f"transformer.h.{layer}", f"blk.{layer}"
        for one, other in (("ln_1", "attn_norm"), ("ln_2", "ffn_norm")):
            yield from ((f"{ours}.{one}.{part}", f"{theirs}.{other}.{part}", (width,)) for part in ("weight", "bias"))
        for (one, other), sizes in products.items():
            yield f"{ours}.{one}.weight", f"{theirs}.{other}.weight", sizes
            yield f"{ours}.{one}.bias", f"{theirs}.{other}.bias", sizes[1:]


def _llama(shape: Shape) -> Iterator[tuple[str, str, Sizes]]:
    width, mlp, shared = shape.width, shape.mlp, shape.width * shape.kv_heads // shape.heads
    yield "model.embed_tokens.weight", "token_embd.weight", (shape.vocabulary, width)
    yield "model.norm.weight", "output_norm.weight", (width,)
    products = {
        ("self_attn.q_proj", "attn_q"): (width, width),
        ("self_attn.k_proj", "attn_k"): (shared, width),
        ("self_attn.v_proj", "attn_v"): (shared, width),
        ("self_attn.o_proj", "attn_output"): (width, width),
        ("mlp.gate_proj", "ffn_gate"): (mlp, width),
        ("mlp.up_proj", "ffn_up"): (mlp, width),
        ("mlp.down_proj", "ffn_down"): (width, mlp),
    }
    for layer in range(shape.layers):
        ours, theirs = f"model.layers.{layer}", f"blk.{layer}"
        yield f"{ours}.input_layernorm.weight", f"{theirs}.attn_norm.weight", (width,)
        yield f"{ours}.post_attention_layernorm.weight", f"{theirs}.ffn_norm.weight", (width,)
        yield from ((f"{ours}.{one}.weight", f"{theirs}.{other}.weight", sizes) for (one, other), sizes in products.items())


TENSORS = {"gpt2": _gpt2, "llama": _llama}


def weights_read(shape: Shape) -> int:
    """The weights that a decode step reads: every product's, and the embedding's as the head."""
    named = TENSORS[shape.family](shape)
    return sum(sizes[0] * sizes[1] for _, name, sizes in named if len(sizes) == 2 and name != "position_embd.weight")


def weights(shape: Shape) -> int:
    """All the weights that a checkpoint of this shape holds."""
    return sum(math.prod(sizes) for _, _, sizes in TENSORS[shape.family](shape))


def _config(shape: Shape) -> dict[str, Any]:
    if shape.family == "gpt2":
        sizes = {"n_embd": shape.width, "n_layer": shape.layers, "n_head": shape.heads, "n_positions": shape.context, "n_inner": shape.mlp}
        own = {"architectures": ["GPT2LMHeadModel"], "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, **sizes}
    else:
        sizes = {"hidden_size": shape.width, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads}
        sizes |= {"num_key_value_heads": shape.kv_heads, "intermediate_size": shape.mlp, "max_position_embeddings": shape.context}
        own = {"architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0, **sizes}
    shared = {"model_type": shape.family, "vocab_size": shape.vocabulary, "torch_dtype": "float16", "tie_word_embeddings": True}
    return {**own, **shared, "bos_token_id": shape.vocabulary - 1, "eos_token_id": shape.vocabulary - 1}


END = "<|endoftext|>"


def _tokens(count: int) -> list[str]:
    """The 256 bytes as byte-level BPE writes them, made-up tokens for the rest, and an end token."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [*map(chr, printable), *(chr(256 + at) for at in range(len(others))), *(f"unused{at}" for at in range(count - 257)), END]


def _random(sizes: Sizes, name: str) -> Any:
    import torch

    if name.endswith("norm.weight") or (".ln_" in name and name.endswith("weight")):
        return torch.ones(sizes)
    return torch.randn(sizes) * 0.02


def write_huggingface(shape: Shape, folder: Path) -> None:
    """config.json, float16 weights and a byte tokenizer that no measure uses."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(_config(shape)))
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    vocabulary = {token: at for at, token in enumerate(_tokens(shape.vocabulary))}
    tokenizer = {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": level, "post_processor": None, "decoder": level}
    tokenizer["model"] = {"type": "BPE", "vocab": vocabulary, "merges": []}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps({f"{kind}_token": END for kind in ("bos", "eos", "unk")}))
    torch.manual_seed(0)
    tensors = {name: _random(sizes, name).half() for name, _, sizes in TENSORS[shape.family](shape)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def write_gguf(shape: Shape, folder: Path, kind: str) -> None:
    """`folder`/`kind`.gguf from the folder's own weights; `kind` is F32, F16, Q8_0 or Q4_0 for the products, the rest stays float32."""
    import gguf
    import numpy as np
    from safetensors import safe_open

    writer = gguf.GGUFWriter(folder / f"{kind}.gguf", shape.family)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.mlp)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_eps(1e-5) if shape.family == "gpt2" else writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(_tokens(shape.vocabulary))
    writer.add_token_types([gguf.TokenType.NORMAL] * shape.vocabulary)
    writer.add_token_merges(["a b"])  # an empty list is not written, and llama.cpp asks for one
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(shape.vocabulary - 1)
    held = gguf.GGMLQuantizationType[kind]
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        for name, theirs, sizes in TENSORS[shape.family](shape):
            values = file.get_tensor(name).float().numpy()
            if shape.family == "gpt2" and len(sizes) == 2 and theirs.startswith("blk."):
                values = np.ascontiguousarray(values.T)  # GPT-2 keeps its products inputs first
            if len(sizes) == 2 and theirs != "position_embd.weight" and kind != "F32":
                writer.add_tensor(theirs, gguf.quants.quantize(values, held), raw_dtype=held)
            else:
                writer.add_tensor(theirs, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
