"""The tables hold the package `gguf`'s own words: every tensor's name and every setting's key."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, MODEL_TENSORS, TENSOR_NAMES, Keys, get_tensor_name_map

from gencli.formats._gguf_architectures import ARCHITECTURES, Architecture

WORDS: dict[str, MODEL_ARCH] = {name: arch for arch, name in MODEL_ARCH_NAMES.items()}


def names(architecture: Architecture) -> list[tuple[str, str]]:
    """(Hugging Face's, GGUF's) of the first layer and of what is outside the layers."""
    within = [(f"{architecture.prefix}0.{theirs}", f"blk.0.{ours}") for ours, theirs in architecture.layer.items()]
    return within + [(theirs, ours) for ours, theirs in architecture.outer.items()]


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda each: each.model_type)
def test_tensors_are_named_as_the_package_maps_them(architecture: Architecture) -> None:
    package = get_tensor_name_map(WORDS[architecture.word], 1)
    held = {TENSOR_NAMES[each].format(bid=0) for each in MODEL_TENSORS[WORDS[architecture.word]]}
    for theirs, ours in names(architecture):
        # experts are stacked under one name there
        stacked = theirs.replace("experts.{}.", "experts.")
        found = package.get_name(theirs) or package.get_name(stacked)
        if found is None:  # a head where the package knows only tied ones, or a norm that it maps for another architecture
            assert ours in ("output", "blk.0.ffn_gate", "blk.0.ffn_up"), (theirs, ours)
        else:
            assert found == ours
            assert ours in held


def keys(group: type[Any]) -> set[str]:
    return {value for name, value in vars(group).items() if isinstance(value, str) and not name.startswith("_")}


def test_settings_are_the_packages_keys() -> None:
    known = keys(Keys.LLM) | keys(Keys.Attention) | keys(Keys.Rope)
    for architecture in ARCHITECTURES:
        for key in architecture.settings.values():
            assert f"{{arch}}.{key.rstrip('?')}" in known


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda each: each.model_type)
def test_what_is_written_is_read_back(architecture: Architecture) -> None:
    config = {"num_attention_heads": 4, "num_key_value_heads": 2}
    for stem, change in architecture.changes.items():
        for shape in ((48, 5), (48,)):
            tensor = torch.randn(shape)
            there = change.write(tensor, config)
            torch.testing.assert_close(change.read(there, config), tensor, atol=1e-6, rtol=0)
            assert not torch.equal(there, tensor) or (stem, shape) != ("attn_q", (48, 5))


def test_no_two_are_alike() -> None:
    assert len({each.model_type for each in ARCHITECTURES}) == len({each.huggingface for each in ARCHITECTURES}) == len(ARCHITECTURES)
