"""Settings of a family that cannot be are refused in a sentence, and those that mean nothing change nothing."""

from __future__ import annotations

from typing import Any

import pytest

from gencli.errors import RunError
from gencli.registry import find

SMALL: dict[str, Any] = {
    "vocab_size": 24,
    "hidden_size": 16,
    "intermediate_size": 12,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
}


@pytest.mark.parametrize(
    ("family", "change", "says"),
    [
        ("mistral", {"sliding_window": 0}, "sliding_window must be a whole number from 1"),
        ("mistral", {"sliding_window": "all"}, "sliding_window"),
        ("qwen2", {"use_sliding_window": 1}, "use_sliding_window must be true or false"),
        ("qwen2", {"max_window_layers": -1}, "max_window_layers must be a whole number from 0"),
        ("qwen2", {"layer_types": ["full_attention"] * 3}, "for each of 4 layers"),
        ("qwen3", {"head_dim": 0}, "head_dim"),
        ("smollm3", {"no_rope_layers": [1, 0]}, "no_rope_layers must have a 0 or a 1 for each of 4 layers"),
        ("smollm3", {"no_rope_layers": [1, 2, 0, 1]}, "no_rope_layers"),
        ("granite", {"residual_multiplier": 0}, "residual_multiplier must be a number from 1e-06 to 1e.06"),
        ("granite", {"logits_scaling": float("nan")}, "logits_scaling"),
        ("gemma2", {"attn_logit_softcapping": "50"}, "attn_logit_softcapping must be a number greater than 0"),
        ("gemma2", {"hidden_activation": 7}, "hidden_activation must be a name"),
        ("gpt_neox", {"rotary_pct": 0.4}, "a head of 8 numbers, of which 3 are rotated, has no halves"),
        ("gpt_neox", {"num_attention_heads": 3}, "3 heads cannot share a width of 16 evenly"),
        ("gpt_neox", {"rotary_pct": 0.01}, "of which 0 are rotated, has no halves"),
        ("mixtral", {"num_local_experts": 2, "num_experts_per_tok": 3}, "of 2 experts, 3 a token cannot be chosen"),
        ("mixtral", {"num_local_experts": 10**9}, "4 layers of 1000000000 experts are more than the 65536"),
        ("qwen3_moe", {"mlp_only_layers": "all"}, "mlp_only_layers must be a list of layers"),
        ("qwen3_moe", {"decoder_sparse_step": 0}, "decoder_sparse_step"),
        ("olmoe", {"clip_qkv": -1.0}, "clip_qkv must be a number greater than 0"),
        ("phi3", {"rope_scaling": {"type": "su", "short_factor": [1.0], "long_factor": [1.0]}}, "short_factor must be a list of 4 numbers"),
        ("phi3", {"rope_scaling": {"type": "su", "short_factor": [1.0] * 4}}, "long_factor must be a list of 4 numbers"),
    ],
)
def test_a_config_that_cannot_be_is_refused(family: str, change: dict[str, Any], says: str) -> None:
    with pytest.raises(RunError, match=says) as caught:
        find("models", family).read({**SMALL, **change})
    assert len(str(caught.value)) < 300


def test_a_window_that_is_switched_off_is_none() -> None:
    for family in ("qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "smollm3"):
        assert find("models", family).read({**SMALL, "use_sliding_window": False, "sliding_window": 0}).windows == (None,) * 4
    assert find("models", "mistral").read({**SMALL, "sliding_window": None}).windows == (None,) * 4


def test_the_older_names_of_gpt_neox() -> None:
    read = find("models", "gpt_neox").read
    rotation = {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}
    assert read({**SMALL, "rotary_pct": 0.5, "rotary_emb_base": 500}) == read({**SMALL, "rope_parameters": rotation})
    assert read(SMALL) == read({**SMALL, "rotary_pct": 0.25, "rotary_emb_base": 10000})
