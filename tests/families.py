"""Random small configurations of every family, as transformers takes them: what differs within a family differs here."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

CONTEXT = 96
Settings = dict[str, Any]


def base(rng: Random) -> Settings:
    """What most families state alike; heads of an even number of numbers, shared or not."""
    heads = rng.choice((2, 4))
    return {
        "vocab_size": rng.randint(50, 90),
        "hidden_size": heads * rng.choice((6, 8, 16)),
        "intermediate_size": rng.choice((24, 40)),
        "num_hidden_layers": rng.choice((2, 3)),
        "num_attention_heads": heads,
        "num_key_value_heads": rng.choice([each for each in (1, 2, 4) if heads % each == 0]),
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": rng.choice((1e-3, 1e-5, 1e-6)),
        "tie_word_embeddings": rng.random() < 0.5,
        "rope_parameters": {"rope_type": "default", "rope_theta": rng.choice((500.0, 10000.0))},
        **ids(),
    }


def ids() -> Settings:
    return {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None}


def maybe(rng: Random, *names: str) -> Settings:
    return {name: rng.random() < 0.5 for name in names}


def scaled(rng: Random) -> Settings:
    """A rotation of a kind that is the same for every length."""
    kinds: list[Settings] = [
        {"rope_type": "linear", "factor": 2.5},
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 24},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24},
        {"rope_type": "default"},
    ]
    return {"rope_theta": rng.choice((100.0, 10000.0)), **rng.choice(kinds)}


def llama(rng: Random) -> Settings:
    more = {"head_dim": rng.choice((6, 10, 16))} if rng.random() < 0.5 else {}
    act = {"hidden_act": rng.choice(("silu", "gelu_pytorch_tanh"))}
    return {**base(rng), **maybe(rng, "attention_bias", "mlp_bias"), **act, **more, "rope_parameters": scaled(rng)}


def mistral(rng: Random) -> Settings:
    return {**base(rng), "head_dim": rng.choice((None, 8)), "sliding_window": rng.choice((None, 5, 9))}


def qwen2(rng: Random) -> Settings:
    return {**base(rng), **maybe(rng, "use_sliding_window"), "sliding_window": 7, "max_window_layers": rng.choice((0, 1, 2))}


def qwen3(rng: Random) -> Settings:
    return {**qwen2(rng), **maybe(rng, "attention_bias"), "head_dim": rng.choice((8, 16))}


def smollm3(rng: Random) -> Settings:
    layers = 4
    more = rng.choice(({"no_rope_layer_interval": 2}, {"no_rope_layers": [rng.choice((0, 1)) for _ in range(layers)]}, {}))
    flags = maybe(rng, "attention_bias", "mlp_bias", "use_sliding_window")
    return {**base(rng), "num_hidden_layers": layers, **flags, "sliding_window": 6, **more}


def granite(rng: Random) -> Settings:
    numbers = {
        "embedding_multiplier": rng.choice((1.0, 12.0)),
        "residual_multiplier": rng.choice((0.22, 1.5)),
        "attention_multiplier": rng.choice((0.015625, 0.4)),
        "logits_scaling": rng.choice((0.5, 8.0)),
    }
    return {**base(rng), **maybe(rng, "attention_bias", "mlp_bias"), **numbers}


def olmo2(rng: Random) -> Settings:
    return {**base(rng), **maybe(rng, "attention_bias")}


def phi3(rng: Random) -> Settings:
    heads, head_dim = 2, 16
    rotation = {"rope_type": "default", "rope_theta": 1000.0, "partial_rotary_factor": rng.choice((0.5, 0.75, 1.0))}
    return {
        **base(rng),
        "num_attention_heads": heads,
        "num_key_value_heads": rng.choice((1, 2)),
        "hidden_size": heads * head_dim,
        "sliding_window": rng.choice((None, 8)),
        "rope_parameters": rotation,
    }


def gemma2(rng: Random) -> Settings:
    heads = rng.choice((2, 4))
    return {
        **base(rng),
        **maybe(rng, "attention_bias"),
        "num_attention_heads": heads,
        "num_key_value_heads": rng.choice((1, 2)),
        "hidden_size": heads * 8,
        "head_dim": rng.choice((8, 12)),
        "num_hidden_layers": 3,
        "sliding_window": rng.choice((4, 9)),
        "query_pre_attn_scalar": rng.choice((16, 256)),
        "attn_logit_softcapping": rng.choice((None, 0.7, 50.0)),
        "final_logit_softcapping": rng.choice((None, 2.0, 30.0)),
    }


def gemma3(rng: Random) -> Settings:
    far = rng.choice(({"rope_type": "linear", "factor": 8.0}, {"rope_type": "default"}))
    return {
        **gemma2(rng),
        "num_hidden_layers": 4,
        "attn_logit_softcapping": None,
        "sliding_window_pattern": rng.choice((2, 3)),
        "rope_parameters": {
            "full_attention": {"rope_theta": 1e4, **far},
            "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
        },
    }


def gpt2(rng: Random) -> Settings:
    heads = rng.choice((2, 4))
    return {
        "vocab_size": rng.randint(50, 90),
        "n_embd": heads * rng.choice((5, 8, 16)),
        "n_layer": rng.choice((1, 2, 3)),
        "n_head": heads,
        "n_positions": CONTEXT,
        "n_inner": rng.choice((None, 40)),
        "activation_function": rng.choice(("gelu_new", "gelu", "relu")),
        **maybe(rng, "scale_attn_weights", "scale_attn_by_inverse_layer_idx", "tie_word_embeddings"),
        **ids(),
    }


def gpt_neox(rng: Random) -> Settings:
    known = {name: value for name, value in base(rng).items() if name not in ("num_key_value_heads", "rms_norm_eps", "hidden_size")}
    return {
        **known,
        **maybe(rng, "use_parallel_residual", "attention_bias"),
        "hidden_size": known["num_attention_heads"] * 16,
        "hidden_act": rng.choice(("gelu", "gelu_new")),
        "rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": rng.choice((0.25, 0.5, 1.0))},
    }


def mixtral(rng: Random) -> Settings:
    return {**mistral(rng), "num_local_experts": rng.choice((3, 5)), "num_experts_per_tok": rng.choice((1, 2, 3))}


def qwen2_moe(rng: Random) -> Settings:
    return {
        **qwen2(rng),
        **maybe(rng, "norm_topk_prob", "qkv_bias"),
        "num_hidden_layers": 3,
        "num_experts": 5,
        "num_experts_per_tok": rng.choice((1, 2)),
        "moe_intermediate_size": 12,
        "shared_expert_intermediate_size": 20,
        **rng.choice(({}, {"mlp_only_layers": [1]}, {"decoder_sparse_step": 2})),
    }


def qwen3_moe(rng: Random) -> Settings:
    return {**qwen2_moe(rng), **maybe(rng, "attention_bias"), "head_dim": rng.choice((8, 16))}


def olmoe(rng: Random) -> Settings:
    more = {"num_experts": 4, "num_experts_per_tok": rng.choice((1, 3)), "clip_qkv": rng.choice((None, 0.8))}
    return {**base(rng), **maybe(rng, "attention_bias", "norm_topk_prob"), **more}


FAMILIES: dict[str, tuple[str, Callable[[Random], Settings]]] = {
    "gemma2": ("Gemma2", gemma2),
    "gemma3": ("Gemma3", gemma3),
    "gpt2": ("GPT2", gpt2),
    "gpt_neox": ("GPTNeoX", gpt_neox),
    "granite": ("Granite", granite),
    "llama": ("Llama", llama),
    "mistral": ("Mistral", mistral),
    "mixtral": ("Mixtral", mixtral),
    "olmo2": ("Olmo2", olmo2),
    "olmoe": ("Olmoe", olmoe),
    "phi3": ("Phi3", phi3),
    "qwen2": ("Qwen2", qwen2),
    "qwen2_moe": ("Qwen2Moe", qwen2_moe),
    "qwen3": ("Qwen3", qwen3),
    "qwen3_moe": ("Qwen3Moe", qwen3_moe),
    "smollm3": ("SmolLM3", smollm3),
}


def settings_of(family: str, seed: int) -> Settings:
    """The configuration of this family with this number."""
    return FAMILIES[family][1](Random(f"{family} {seed}"))


def oracle(transformers: Any, family: str, settings: Settings) -> Any:
    """The untrained model that transformers makes of a configuration."""
    name = FAMILIES[family][0]
    config = getattr(transformers, "Gemma3TextConfig" if family == "gemma3" else f"{name}Config")(**settings)
    # the other ways of transformers to compute attention leave soft caps out
    model = "GPT2LMHeadModel" if family == "gpt2" else f"{name}ForCausalLM"
    return getattr(transformers, model)._from_config(config, attn_implementation="eager")
