"""A run's weights -> a checkpoint folder in Hugging Face layout. Knows no training step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from recipe import card, curve
from recipe.network import Size
from recipe.training import WINDOW, Mismatch, Settings
from recipe.vocabulary import SPECIAL

TEMPLATE = (
    "{% set ns = namespace(before='') %}{% for m in messages %}"
    "{% if m['role'] == 'system' %}{% set ns.before = m['content'] | trim + '\n' %}"
    "{% else %}<|{{ m['role'] }}|>\n{{ ns.before }}{{ m['content'] | trim }}\n{% set ns.before = '' %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def write(data: Path, run: Path, checkpoint: Path, other: Path | None = None, share: float = 0.0) -> None:
    """Weights in float16, config, generation_config, tokenizer and chat template; `write_card` tells of them.

    With `other`, a folder that this function wrote, the weights are averaged: `share` (0 to 1) of its, the rest the run's
    (weight-space ensembles, Wortsman et al. 2021, arXiv:2109.01903). It is meant for the checkpoint that the run began
    with. Mismatch where their shapes differ.
    """
    state, settings = _read(run)
    weights = {f"model.{key}": each for key, each in state["network"].items()}
    metadata = {"format": "pt"}
    if other:
        weights = blended(weights, load_file(other / "model.safetensors"), share)
        metadata["blend"] = f"{share:g}"
    checkpoint.mkdir(parents=True, exist_ok=True)
    tensors = {key: each.half().contiguous() for key, each in weights.items()}
    save_file(tensors, checkpoint / "model.safetensors", metadata=metadata)
    (checkpoint / "model.safetensors").chmod(0o644)  # the library makes it the owner's alone
    shutil.copyfile(data / "tokenizer.json", checkpoint / "tokenizer.json")
    _json(checkpoint / "config.json", config(settings.size))
    _json(checkpoint / "generation_config.json", {"eos_token_id": [0, 1]})
    _json(checkpoint / "tokenizer_config.json", tokenizer_config(settings.size))


def blended(own: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """(1 - share) x own + share x other, tensor by tensor, in float32."""
    shapes, others = ({key: each.shape for key, each in weights.items()} for weights in (own, other))
    if shapes != others:
        raise Mismatch("Only the weights of two checkpoints of the same size can be averaged, and these two differ.")
    return {key: (1 - share) * each.float() + share * other[key].float() for key, each in own.items()}


def write_card(data: Path, run: Path, checkpoint: Path, figures: Path | None = None, samples: Path | None = None) -> None:
    """README.md and loss.svg, from the run's log and what `evaluate` and `marks` wrote."""
    state, settings = _read(run)
    log = run / "log.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    (checkpoint / "loss.svg").write_text(curve.svg(rows), encoding="utf-8")
    counts = json.loads((data / "counts.json").read_text())
    told, written = (json.loads(each.read_text()) if each else None for each in (figures, samples))
    with safe_open(checkpoint / "model.safetensors", "pt") as stored:
        blend = float((stored.metadata() or {}).get("blend", 0))
    text = card.text(checkpoint.resolve().name, settings, counts, state["drawn"], state["before"], rows, told, written, blend)
    (checkpoint / "README.md").write_text(text, encoding="utf-8")


def _read(run: Path) -> tuple[dict[str, Any], Settings]:
    state = torch.load(run / "state.pt", map_location="cpu", weights_only=True)
    return state, Settings.of(state["settings"])


def config(size: Size) -> dict[str, Any]:
    """Llama's config.json."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": size.vocabulary,
        "hidden_size": size.width,
        "intermediate_size": size.mlp,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.kv_heads,
        "head_dim": size.width // size.heads,
        "max_position_embeddings": min(size.context, WINDOW),
        "rms_norm_eps": size.epsilon,
        "rope_theta": size.theta,
        "tie_word_embeddings": True,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": None,
        "eos_token_id": 0,
        "torch_dtype": "float16",
    }


def tokenizer_config(size: Size) -> dict[str, Any]:
    """What transformers and gencli read beside tokenizer.json: the end token and the chat template."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": SPECIAL[0],
        "additional_special_tokens": SPECIAL[1:],
        "model_max_length": min(size.context, WINDOW),
        "clean_up_tokenization_spaces": False,
        "chat_template": TEMPLATE,
    }


def _json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
