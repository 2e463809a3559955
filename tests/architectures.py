"""A small random checkpoint of every architecture that GGUF files are read and written of, by transformers."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import torch

from gencli.formats._gguf_architectures import ARCHITECTURES
from gencli.registry import find, names

SIZES: dict[str, Any] = {
    "vocab_size": 4096,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": None,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
OWN: dict[str, dict[str, Any]] = {
    "llama": {"rope_parameters": {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
              "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}},
    "mistral": {"sliding_window": None},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
    "granite": {"embedding_multiplier": 3.0, "residual_multiplier": 0.5, "attention_multiplier": 0.2, "logits_scaling": 2.0},
    "qwen2_moe": {**EXPERTS, "shared_expert_intermediate_size": 64, "norm_topk_prob": False},
    "qwen3": {"head_dim": 24},
    "qwen3_moe": {**EXPERTS, "head_dim": 24, "norm_topk_prob": True},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2, "num_key_value_heads": 4, "intermediate_size": 32, "norm_topk_prob": False},
    "phi3": {"sliding_window": None},
    "gemma2": {"tie_word_embeddings": True, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 128},
    "gemma3_text": {"tie_word_embeddings": True, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 128},
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "gpt_neox": {"rotary_pct": 0.5, "use_parallel_residual": True},
}  # fmt: skip


def readable() -> list[str]:
    """The model types among GGUF's whose family is on the shelf."""
    known = {name for each in names("models") for name in find("models", each).model_types}
    return [each.model_type for each in ARCHITECTURES if each.model_type in known]


def random_checkpoint(folder: Path, model_type: str, tokenizer: Path, **settings: Any) -> Path:
    """A folder that transformers wrote, with numbers that make answers far from flat, and another folder's tokenizer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import AutoConfig, AutoModelForCausalLM, logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        sizes = {key: value for key, value in SIZES.items() if model_type != "gpt2" or "size" not in key or key == "vocab_size"}
        config = AutoConfig.for_model(model_type, **{**sizes, "tie_word_embeddings": False, **OWN.get(model_type, {}), **settings})
        model = AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            centre = 1.0 if weight.dim() == 1 and name.endswith("weight") and "gemma" not in model_type else 0.0
            weight.copy_(centre + (0.15 if weight.dim() > 1 else 0.1) * torch.randn(weight.shape, generator=generator))
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, folder)
    return folder
