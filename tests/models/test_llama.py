"""The Llama family answers as transformers does, and refuses what it would answer wrongly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from gencli.errors import RunError
from gencli.models import Model
from gencli.models._rotary import Rotation
from gencli.models.llama import Llama

SMALL: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 96,
    "pad_token_id": None,
}

KINDS = {
    "plain": {},
    "tied": {"tie_word_embeddings": True},
    "grouped": {"num_key_value_heads": 2},
    "one shared head, tied": {"num_key_value_heads": 1, "tie_word_embeddings": True},
    "head_dim of its own": {"head_dim": 10, "num_key_value_heads": 2},
    "biases": {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 2},
    "other base and act": {
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
        "hidden_act": "gelu_pytorch_tanh",
        "rms_norm_eps": 1e-3,
    },
}


def oracle(transformers: ModuleType, **settings: Any) -> Any:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**SMALL, **settings}))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_logits_and_greedy_tokens_are_the_oracles(
    transformers: ModuleType, write: Callable[..., Path], agree: Callable[..., Model], kind: str, seed: int
) -> None:
    model = oracle(transformers, **KINDS[kind])
    agree(model, write(model, seed))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_are_computed_in_float32(
    transformers: ModuleType, write: Callable[..., Path], agree: Callable[..., Model], dtype: torch.dtype
) -> None:
    model = oracle(transformers)
    agree(model, write(model, dtype=dtype))


def test_a_file_in_several_parts(transformers: ModuleType, write: Callable[..., Path], agree: Callable[..., Model], tmp_path: Path) -> None:
    model = oracle(transformers)
    path = write(model)
    model.save_pretrained(tmp_path / "parts", max_shard_size="40KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 2
    assert path.exists()
    agree(model, tmp_path / "parts", tokens=4)


def test_both_spellings_of_the_rotary_base() -> None:
    new = Llama.read({**SMALL, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}})
    old = Llama.read({**SMALL, "rope_theta": 500.0, "rope_scaling": None})
    assert new == old
    assert Llama.read(SMALL).rotations == (Rotation(10000.0),) * 3
    assert Llama.read({**SMALL, "rope_theta": 500, "rope_scaling": {"type": "default"}}) == old


def test_an_old_config_gives_the_same_logits(transformers: ModuleType, write: Callable[..., Path], agree: Callable[..., Model]) -> None:
    model = oracle(transformers, rope_parameters={"rope_type": "default", "rope_theta": 700.0})
    path = write(model)
    config = json.loads((path / "config.json").read_text())
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    config["torch_dtype"] = config.pop("dtype")
    del config["architectures"], config["head_dim"]
    (path / "config.json").write_text(json.dumps(config))
    agree(model, path, tokens=4)


def test_describe_needs_no_tensors() -> None:
    facts = Llama.describe({**SMALL, "num_key_value_heads": 2})
    assert facts == (96, 96, 3, 2, 8)
    assert facts.cache_bytes == 2 * 3 * 2 * 8 * 4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rope_scaling": {"rope_type": "llama3"}}, "'llama3' need a factor"),
        (
            {"rope_scaling": {"rope_type": "llama4", "factor": 8.0}},
            "'llama4' are not supported. Choices: default, linear, dynamic, llama3, yarn",
        ),
        ({"rope_parameters": {"rope_type": "yarn\x1b[2J"}}, r"'yarn\\x1b\[2J'"),
        ({"rope_scaling": 8}, "rope_parameters must be a mapping|rope_scaling must be a mapping"),
        ({"rope_theta": "big"}, "rope_theta must be a number from 1 to 1e.30"),
        ({"rope_theta": float("inf")}, "rope_theta"),
        ({"partial_rotary_factor": 1.5}, "partial_rotary_factor must be a number greater than 0, at most 1"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is not supported"),
        ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "by layer type .'full_attention'. are not supported"),
        ({"num_key_value_heads": 3}, "cannot share 3"),
        ({"head_dim": 7}, "no halves"),
        ({"num_hidden_layers": -1}, "num_hidden_layers must be a whole number from 1"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"vocab_size": 10**12}, "vocab_size"),
        ({"vocab_size": True}, "vocab_size"),
        ({"hidden_size": "32"}, "hidden_size"),
        ({"hidden_size": None}, "hidden_size must be .* not None"),
        ({"hidden_size": [[[[[[[[[[]]]]]]]]]]}, "hidden_size"),
        ({"rms_norm_eps": 0}, "rms_norm_eps"),
        ({"attention_bias": "no"}, "attention_bias must be true or false"),
        ({"hidden_act": 3}, "hidden_act must be a name"),
    ],
)
def test_a_config_that_cannot_be_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(RunError, match=says) as caught:
        Llama.read({**SMALL, **change})
    assert len(str(caught.value)) < 400
