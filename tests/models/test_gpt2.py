"""The GPT-2 family answers as transformers does; untrained, it is close to flat."""

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
from gencli.models.gpt2 import Gpt2Config, random_gpt2

SMALL: dict[str, Any] = {
    "vocab_size": 96,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 96,
    "bos_token_id": 0,
    "eos_token_id": 0,
}

KINDS = {
    "plain": {},
    "untied": {"tie_word_embeddings": False},
    "inner width of its own": {"n_inner": 40, "layer_norm_epsilon": 1e-3},
    "relu": {"activation_function": "relu"},
    "exact gelu": {"activation_function": "gelu"},
    "unscaled": {"scale_attn_weights": False, "n_layer": 1},
    "scaled by layer": {"scale_attn_by_inverse_layer_idx": True},
}


def oracle(transformers: ModuleType, **settings: Any) -> Any:
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**{**SMALL, **settings}))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_logits_and_greedy_tokens_are_the_oracles(
    transformers: ModuleType, write: Callable[..., Path], agree: Callable[..., Model], kind: str, seed: int
) -> None:
    model = oracle(transformers, **KINDS[kind])
    agree(model, write(model, seed))


def test_a_width_that_takes_the_other_product(transformers: ModuleType, write: Callable[..., Path], agree: Callable[..., Model]) -> None:
    model = oracle(transformers, n_embd=320, n_layer=1)  # large enough for oneDNN
    agree(model, write(model), tokens=16)


def test_half_precision_file(transformers: ModuleType, write: Callable[..., Path], agree: Callable[..., Model]) -> None:
    model = oracle(transformers)
    agree(model, write(model, dtype=torch.float16))


def test_the_longer_names_of_its_settings() -> None:
    longer = {
        "n_embd": "hidden_size",
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "n_positions": "max_position_embeddings",
    }
    assert Gpt2Config.read({longer.get(key, key): value for key, value in SMALL.items()}) == Gpt2Config.read(SMALL)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"n_head": 5}, "cannot share a width of 32"),
        ({"n_layer": 0}, "n_layer must be a whole number"),
        ({"n_positions": -5}, "n_positions"),
        ({"n_positions": None}, "n_positions"),
        ({"add_cross_attention": True}, "not supported"),
        ({"scale_attn_weights": 1}, "true or false"),
    ],
)
def test_a_config_that_cannot_be_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(RunError, match=says):
        Gpt2Config.read({**SMALL, **change})


def test_an_unknown_activation_lists_the_choices(transformers: ModuleType, write: Callable[..., Path], agree: Callable[..., Model]) -> None:
    model = oracle(transformers)
    path = write(model)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "activation_function": "gleu"}))
    with pytest.raises(RunError, match=r"'gleu' is not known. Choices: gelu, .*silu"):
        agree(model, path)


def test_untrained_is_close_to_flat_and_repeatable() -> None:
    config = Gpt2Config(vocab_size=50, context=256, width=64, layers=2, heads=4, mlp_width=256)
    ids = torch.arange(20)[None]
    first, second = (random_gpt2(config, torch.Generator().manual_seed(3))(ids) for _ in range(2))
    assert torch.equal(first, second)
    probs = first.softmax(-1)
    entropy = -(probs * probs.log()).sum(-1)
    assert first.shape == (1, 20, 50)
    assert bool((entropy > 0.98 * torch.log(torch.tensor(50.0))).all())
    assert first.requires_grad is False
