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


def _gpt2(shape: Shape) -> Iterator[tuple[str, Sizes]]:
    """Every tensor's name and shape."""
    width, mlp = shape.width, shape.mlp
    yield "transformer.wte.weight", (shape.vocabulary, width)
    yield "transformer.wpe.weight", (shape.context, width)
    yield from ((f"transformer.ln_f.{part}", (width,)) for part in ("weight", "bias"))
    products = {"attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width), "mlp.c_fc": (width, mlp), "mlp.c_proj": (mlp, width)}
    for layer in range(shape.layers):
        for norm in ("ln_1", "ln_2"):
            yield from ((f"transformer.h.{layer}.{norm}.{part}", (width,)) for part in ("weight", "bias"))
        for name, sizes in products.items():
            yield f"transformer.h.{layer}.{name}.weight", sizes
            yield f"transformer.h.{layer}.{name}.bias", sizes[1:]


def _llama(shape: Shape) -> Iterator[tuple[str, Sizes]]:
    width, mlp, shared = shape.width, shape.mlp, shape.width * shape.kv_heads // shape.heads
    yield "model.embed_tokens.weight", (shape.vocabulary, width)
    yield "model.norm.weight", (width,)
    products = {
        "self_attn.q_proj": (width, width),
        "self_attn.k_proj": (shared, width),
        "self_attn.v_proj": (shared, width),
        "self_attn.o_proj": (width, width),
        "mlp.gate_proj": (mlp, width),
        "mlp.up_proj": (mlp, width),
        "mlp.down_proj": (width, mlp),
    }
    for layer in range(shape.layers):
        yield f"model.layers.{layer}.input_layernorm.weight", (width,)
        yield f"model.layers.{layer}.post_attention_layernorm.weight", (width,)
        yield from ((f"model.layers.{layer}.{name}.weight", sizes) for name, sizes in products.items())


TENSORS = {"gpt2": _gpt2, "llama": _llama}


def weights_read(shape: Shape) -> int:
    """The weights that a decode step reads: every product's, and the embedding's as the head."""
    named = TENSORS[shape.family](shape)
    return sum(sizes[0] * sizes[1] for name, sizes in named if len(sizes) == 2 and name != "transformer.wpe.weight")


def weights(shape: Shape) -> int:
    """All the weights that a checkpoint of this shape holds."""
    return sum(math.prod(sizes) for _, sizes in TENSORS[shape.family](shape))


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
    tensors = {name: _random(sizes, name).half() for name, sizes in TENSORS[shape.family](shape)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def write_gguf(folder: Path, kind: str) -> None:
    """`folder`/`kind`.gguf from the folder's own weights; `kind` is F32, F16, Q8_0 or Q4_0 for the products, the rest stays float32."""
    from gencli.formats import _gguf_writing, open_checkpoint
    from gencli.vocabularies import vocabulary_of

    checkpoint = open_checkpoint(folder)
    with open(folder / f"{kind}.gguf", "wb") as file:
        _gguf_writing.write_gguf(file, checkpoint, vocabulary_of(checkpoint), kind)
