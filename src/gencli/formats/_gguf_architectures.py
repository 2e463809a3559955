"""What GGUF and Hugging Face call the same thing, an architecture at a time: tensors, settings, and how numbers lie. Reads nothing.

GGUF's words are those of the package `gguf` (its `TENSOR_NAMES` and `Keys`), against which the tests hold these tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from gencli.formats._pairs import halves, neighbours

if TYPE_CHECKING:
    from torch import Tensor

Config = Mapping[str, Any]


class Change(NamedTuple):
    """How a tensor lies differently: `read` turns GGUF's into Hugging Face's, `write` turns it back."""

    read: Callable[[Tensor, Config], Tensor]
    write: Callable[[Tensor, Config], Tensor]


@dataclass(frozen=True)
class Architecture:
    """One architecture: its `word` in GGUF, its class and model type in config.json.

    `outer` and `layer` map GGUF's tensor stems to Hugging Face's ("{}": number of the expert); `settings` maps keys
    of config.json to GGUF's (with "?": may be absent); `fixed` are settings that GGUF does not keep.
    """

    word: str
    huggingface: str
    model_type: str
    layer: Mapping[str, str]
    outer: Mapping[str, str]
    settings: Mapping[str, str]
    prefix: str = "model.layers."
    fixed: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Change] = field(default_factory=dict)


def _interleaved(heads: str) -> Change:
    """Llama's rotary pairs lie as halves of a head there, as neighbours here. `heads` names the number of heads."""
    return Change(
        lambda tensor, config: halves(tensor, _heads(config, heads)),
        lambda tensor, config: neighbours(tensor, _heads(config, heads)),
    )


def _heads(config: Config, key: str) -> int:
    return int(config.get(key) or config["num_attention_heads"])


def _turned(tensor: Tensor, config: Config) -> Tensor:
    return tensor.t() if tensor.dim() == 2 else tensor


def _by_head(tensor: Tensor, config: Config) -> Tensor:
    heads = config["num_attention_heads"]
    return tensor.view(3, heads, -1, *tensor.shape[1:]).transpose(0, 1).reshape(tensor.shape)


def _by_kind(tensor: Tensor, config: Config) -> Tensor:
    heads = config["num_attention_heads"]
    return tensor.view(heads, 3, -1, *tensor.shape[1:]).transpose(0, 1).reshape(tensor.shape)


PAIRS = {"attn_q": _interleaved("num_attention_heads"), "attn_k": _interleaved("num_key_value_heads")}
TURNED = Change(_turned, _turned)  # GPT-2 keeps its products (in, out)
BY_HEAD = Change(_by_head, _by_kind)  # queries, keys and values: by head there, one kind after another here
SHIFTED = Change(lambda tensor, config: tensor - 1, lambda tensor, config: tensor + 1)  # Gemma multiplies with 1 + the weight

OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
ATTENTION = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
}
HEAD_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
MLP = {"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
SANDWICH = {"post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm"}
EXPERTS = {
    "ffn_gate_inp": "mlp.gate",
    "ffn_gate_exps": "mlp.experts.{}.gate_proj",
    "ffn_up_exps": "mlp.experts.{}.up_proj",
    "ffn_down_exps": "mlp.experts.{}.down_proj",
}
MIXTRAL = {
    "ffn_gate_inp": "block_sparse_moe.gate",
    "ffn_gate_exps": "block_sparse_moe.experts.{}.w1",
    "ffn_up_exps": "block_sparse_moe.experts.{}.w3",
    "ffn_down_exps": "block_sparse_moe.experts.{}.w2",
}
SHARED_EXPERT = {
    "ffn_gate_inp_shexp": "mlp.shared_expert_gate",
    "ffn_gate_shexp": "mlp.shared_expert.gate_proj",
    "ffn_up_shexp": "mlp.shared_expert.up_proj",
    "ffn_down_shexp": "mlp.shared_expert.down_proj",
}

SIZES = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "max_position_embeddings": "context_length",
}
ROTARY = {
    **SIZES,
    "intermediate_size": "feed_forward_length",
    "num_key_value_heads": "attention.head_count_kv?",
    "head_dim": "attention.key_length?",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
}
WINDOW = {"sliding_window": "attention.sliding_window?"}
MOE = {"num_local_experts": "expert_count", "num_experts_per_tok": "expert_used_count"}
MANY = {"num_experts": "expert_count", "num_experts_per_tok": "expert_used_count", "moe_intermediate_size": "expert_feed_forward_length"}
SILU = {"hidden_act": "silu"}
GEMMA = {"hidden_activation": "gelu_pytorch_tanh"}


def _llama(word: str, name: str, model_type: str, **others: Any) -> Architecture:
    """One whose blocks are Llama's, but for what is said."""
    defaults = {"layer": ATTENTION | MLP, "outer": OUTER, "settings": ROTARY, "fixed": SILU}
    return Architecture(word, f"{name}ForCausalLM", model_type, **{**defaults, **others})


def _gemma(word: str, name: str, norms: Mapping[str, str], settings: Mapping[str, str]) -> Architecture:
    layer = {**ATTENTION, **MLP, **SANDWICH, **norms, "ffn_norm": "pre_feedforward_layernorm"}
    changes = {stem: SHIFTED for stem in (*layer, "output_norm") if stem.endswith("norm")}
    outer = {stem: theirs for stem, theirs in OUTER.items() if stem != "output"}  # the head is always the embeddings
    model_type = f"{word}_text" if word == "gemma3" else word
    return _llama(word, name, model_type, layer=layer, outer=outer, settings=settings, fixed=GEMMA, changes=changes)


AFTER = {stem: name for stem, name in (ATTENTION | MLP | HEAD_NORMS | SANDWICH).items() if stem not in ("attn_norm", "ffn_norm")}
FUSED = {stem: name for stem, name in (ATTENTION | MLP).items() if stem not in ("attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up")}
GRANITE = {
    **ROTARY,
    "embedding_multiplier": "embedding_scale?",
    "residual_multiplier": "residual_scale?",
    "attention_multiplier": "attention.scale?",
    "logits_scaling": "logit_scale?",
}

# where two share a word, the first is meant unless its tensors say otherwise
ARCHITECTURES = (
    _llama("llama", "Llama", "llama", changes=PAIRS),
    _llama("llama", "Mistral", "mistral", changes=PAIRS, settings=ROTARY | WINDOW),
    _llama("llama", "Mixtral", "mixtral", layer=ATTENTION | MIXTRAL, settings=ROTARY | MOE | WINDOW, changes=PAIRS),
    _llama("granite", "Granite", "granite", changes=PAIRS, settings=GRANITE),
    _llama("qwen2", "Qwen2", "qwen2"),
    _llama("qwen2moe", "Qwen2Moe", "qwen2_moe", layer=ATTENTION | EXPERTS | SHARED_EXPERT, settings={
        **ROTARY, **MANY, "shared_expert_intermediate_size": "expert_shared_feed_forward_length"
    }, fixed=SILU | {"norm_topk_prob": False, "decoder_sparse_step": 1}),
    _llama("qwen3", "Qwen3", "qwen3", layer=ATTENTION | MLP | HEAD_NORMS),
    _llama("qwen3moe", "Qwen3Moe", "qwen3_moe", layer=ATTENTION | HEAD_NORMS | EXPERTS, settings=ROTARY | MANY, fixed=SILU | {
        "norm_topk_prob": True, "decoder_sparse_step": 1
    }),
    _llama("olmo2", "Olmo2", "olmo2", layer=AFTER),
    _llama("olmoe", "Olmoe", "olmoe", layer=ATTENTION | HEAD_NORMS | EXPERTS, settings={
        **ROTARY, "num_experts": "expert_count", "num_experts_per_tok": "expert_used_count", "clip_qkv": "attention.clamp_kqv?"
    }, fixed=SILU | {"norm_topk_prob": False}),
    _llama("phi3", "Phi3", "phi3", settings=ROTARY | WINDOW, layer={
        **FUSED, "attn_qkv": "self_attn.qkv_proj", "ffn_up": "mlp.gate_up_proj"
    }),
    _gemma("gemma2", "Gemma2", {}, {
        **ROTARY, **WINDOW,
        "attn_logit_softcapping": "attn_logit_softcapping?",
        "final_logit_softcapping": "final_logit_softcapping?",
    }),
    _gemma("gemma3", "Gemma3", HEAD_NORMS, ROTARY | WINDOW | {"final_logit_softcapping": "final_logit_softcapping?"}),
    Architecture(
        "gpt2", "GPT2LMHeadModel", "gpt2", prefix="transformer.h.",
        layer={
            "attn_norm": "ln_1", "attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj",
            "ffn_norm": "ln_2", "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj",
        },
        outer={"token_embd": "transformer.wte", "position_embd": "transformer.wpe", "output_norm": "transformer.ln_f", "output": "lm_head"},
        settings={
            "n_embd": "embedding_length", "n_layer": "block_count", "n_head": "attention.head_count", "n_positions": "context_length",
            "n_inner": "feed_forward_length", "layer_norm_epsilon": "attention.layer_norm_epsilon",
        },
        fixed={"activation_function": "gelu_new"},
        changes=dict.fromkeys(("attn_qkv", "attn_output", "ffn_up", "ffn_down"), TURNED),
    ),
    Architecture(
        "gptneox", "GPTNeoXForCausalLM", "gpt_neox", prefix="gpt_neox.layers.",
        layer={
            "attn_norm": "input_layernorm", "attn_qkv": "attention.query_key_value", "attn_output": "attention.dense",
            "ffn_norm": "post_attention_layernorm", "ffn_up": "mlp.dense_h_to_4h", "ffn_down": "mlp.dense_4h_to_h",
        },
        outer={"token_embd": "gpt_neox.embed_in", "output_norm": "gpt_neox.final_layer_norm", "output": "embed_out"},
        settings={
            **SIZES, "intermediate_size": "feed_forward_length", "layer_norm_eps": "attention.layer_norm_epsilon",
            "use_parallel_residual": "use_parallel_residual?",
        },
        fixed={"hidden_act": "gelu"},
        changes={"attn_qkv": BY_HEAD},
    ),
)  # fmt: skip
