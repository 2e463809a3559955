"""Every kind of rotary scaling against transformers, within and beyond the original context, in the spellings of several years."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from gencli.decoder import Decoder
from gencli.models import Model
from gencli.models.llama import Llama
from gencli.rotary import Rotary

ORIGINAL = 24
SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 96,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": ORIGINAL}
LONG = {
    "rope_type": "longrope",
    "short_factor": [1.0 + 0.1 * each for each in range(8)],
    "long_factor": [1.0 + 1.5 * each for each in range(8)],
    "original_max_position_embeddings": ORIGINAL,
}
KINDS: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "factor": 4.0},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": ORIGINAL,
    },
    "yarn": YARN,
    "yarn, not truncated": {**YARN, "truncate": False, "beta_fast": 20.0, "beta_slow": 2.0},
    "yarn, its own amplitude": {**YARN, "attention_factor": 0.7},
    "yarn, amplitudes": {**YARN, "mscale": 0.9, "mscale_all_dim": 0.4},
    "longrope": LONG,
    "longrope, its own amplitude": {**LONG, "attention_factor": 1.3, "factor": 4.0},
    "dynamic": {"rope_type": "dynamic", "factor": 4.0},
}


def oracle(transformers: ModuleType, rotation: dict[str, Any]) -> Any:
    sizes = {**SIZES, "max_position_embeddings": ORIGINAL} if rotation["rope_type"] == "dynamic" else SIZES
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, rope_parameters={"rope_theta": 500.0, **rotation}))


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_the_oracles_at_every_length(
    transformers: ModuleType, write: Callable[..., Path], load: Callable[[Path], Model], kind: str
) -> None:
    """A text of each length by itself, and by steps; of `dynamic` where its base is renewed, at each quarter of the original length."""
    theirs = oracle(transformers, KINDS[kind])
    model = load(write(theirs))
    assert model.context == 96
    ids = torch.randint(0, 60, (90,), generator=torch.Generator().manual_seed(3))
    decoder = Decoder(model)
    decoder.prefill(ids[:5].tolist())
    for length in range(6, 91):
        steps = decoder.step([int(ids[length - 1])])
        if length not in (6, 24, 25, 30, 31, 48, 90):
            continue
        padded = length
        if kind == "dynamic" and length > ORIGINAL:  # what is behind a text changes nothing but the length that counts
            padded = -(-length // 6) * 6
        with torch.inference_mode():
            expected = theirs(torch.cat([ids[:length], ids[: padded - length]])[None]).logits[0, :length]
            torch.testing.assert_close(steps[0], expected[-1], atol=1e-4, rtol=0)
            if padded == length:
                torch.testing.assert_close(model(ids[None, :length])[0], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "dynamic"])
def test_a_text_is_scored_as_it_would_be_written(
    transformers: ModuleType, write: Callable[..., Path], load: Callable[[Path], Model], kind: str
) -> None:
    theirs = oracle(transformers, KINDS[kind])
    model = load(write(theirs))
    ids = torch.randint(0, 60, (40,), generator=torch.Generator().manual_seed(3))
    followed = torch.cat(list(Decoder(model).follow(ids.tolist(), 10)))
    with torch.inference_mode():
        expected = [theirs(ids[None, : length + 1]).logits[0, -1] for length in range(10, 40)]
    torch.testing.assert_close(followed, torch.stack(expected), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "older",
    [
        {"rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 4.0}},
        {"rope_theta": 500.0, "rope_scaling": {"rope_type": "linear", "type": "linear", "factor": 4}, "rope_parameters": None},
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0}, "rope_theta": 500},
    ],
)
def test_older_spellings(older: dict[str, Any]) -> None:
    assert Llama.read({**SIZES, **older}) == Llama.read({**SIZES, "rope_parameters": {"rope_theta": 500.0, **KINDS["linear"]}})


def test_phi_3_switches_to_its_long_factors_and_turns_a_part_of_its_heads(
    transformers: ModuleType, write: Callable[..., Path], load: Callable[[Path], Model]
) -> None:
    rotation = {**LONG, "rope_theta": 500.0, "partial_rotary_factor": 0.75, "short_factor": [1.1] * 6, "long_factor": [1.0, 2.0, 3.0] * 2}
    config = transformers.Phi3Config(**SIZES, original_max_position_embeddings=ORIGINAL, rope_parameters=rotation)
    theirs = transformers.Phi3ForCausalLM(config)
    path = write(theirs)
    stated = json.loads((path / "config.json").read_text())
    older = {**stated, "rope_scaling": {**stated.pop("rope_parameters"), "type": "su"}, "rope_theta": 500.0, "partial_rotary_factor": 0.75}
    for key in ("rope_type", "rope_theta", "partial_rotary_factor"):
        older["rope_scaling"].pop(key)
    older.pop("rope_parameters", None)
    (path / "config.json").write_text(json.dumps(older))
    model = load(path)
    ids = torch.randint(0, 60, (2, 30), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        for length in (20, 30):
            torch.testing.assert_close(model(ids[:, :length]), theirs(ids[:, :length]).logits, atol=1e-4, rtol=0)


def test_a_model_reaches_what_its_scaling_promises() -> None:
    def context(rotation: dict[str, Any], stated: int = 32) -> int:
        return Llama.read({**SIZES, "max_position_embeddings": stated, "rope_scaling": rotation}).context

    assert context({"rope_type": "dynamic", "factor": 3.0}) == 96
    assert context({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}) == 128
    assert context({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}, stated=128) == 128
    assert context({"type": "linear", "factor": 4.0}) == 32


def test_the_base_of_dynamic_grows_by_quarters_and_then_by_none() -> None:
    scaling = Llama.read({**SIZES, "max_position_embeddings": 24, "rope_scaling": KINDS["dynamic"]}).rotations[0].scaling
    rotary = Rotary(16, 500.0, torch.device("cpu"), scaling)
    assert [rotary.horizon(length) for length in (1, 24, 25, 30, 31, 96)] == [24, 24, 30, 30, 36, 96]
    assert all(torch.equal(*pair) for pair in zip(rotary.table(25), rotary.table(30), strict=True))
    assert not torch.equal(rotary.table(30)[0], rotary.table(31)[0])
