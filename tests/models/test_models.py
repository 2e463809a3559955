"""What every family stands on: finding it, its settings, and every tensor accounted for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gencli.errors import GencliError, RunError
from gencli.formats import Header
from gencli.models import RandomTensors, Weights, family
from gencli.models.gpt2 import Gpt2, Gpt2Config
from gencli.models.llama import Llama, LlamaConfig
from gencli.precisions.float32 import Float32
from gencli.registry import find, names

LLAMA: dict[str, Any] = {"vocab_size": 24, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}
GPT2: dict[str, Any] = {"vocab_size": 24, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 16}


class Held:
    """Tensors in memory, under whatever names."""

    def __init__(self, tensors: dict[str, torch.Tensor], dtype: str = "F32") -> None:
        self.tensors = tensors
        self.headers = {name: Header(dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}

    def on(self, device: str) -> Held:
        return self

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.tensors[name]


def tensors_of(config: LlamaConfig | Gpt2Config, prefixed: bool = True) -> dict[str, torch.Tensor]:
    layout = config.layout()
    held = RandomTensors(layout, torch.Generator().manual_seed(0))
    return {(layout.prefix if prefixed and not name.startswith("lm_head") else "") + name: held[name] for name in held.headers}


@pytest.fixture(params=["llama", "llama tied", "gpt2"])
def kind(request: pytest.FixtureRequest) -> tuple[type[Llama] | type[Gpt2], dict[str, Any], LlamaConfig | Gpt2Config]:
    if request.param == "gpt2":
        return Gpt2, GPT2, Gpt2Config.read(GPT2)
    config = {**LLAMA, "tie_word_embeddings": "tied" in request.param}
    return Llama, config, LlamaConfig.read(config)


def test_every_family_is_found_by_its_names() -> None:
    for each in (find("models", name) for name in names("models")):
        for architecture in each.architectures:
            assert family({"architectures": [architecture]}) is each
        for model_type in each.model_types:
            assert family({"model_type": model_type}) is each
            assert family({"model_type": model_type, "architectures": None}) is each


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (
            {"architectures": ["LlamaForCausalLm"]},
            "'LlamaForCausalLm' is not known. The nearest is LlamaForCausalLM. Choices: GPT2LMHeadModel, LlamaForCausalLM.",
        ),
        ({"architectures": ["\x1b]0;x\x07"]}, r"'\x1b]0;x\x07' is not known. Choices"),
        ({"architectures": [["nested"]]}, "['nested'] is not known"),
        ({"model_type": "lama"}, "The nearest is llama. Choices: gpt2, llama."),
        ({}, "the architecture None is not known"),
        ({"architectures": ["x" * 10**6]}, "is not known"),
    ],
)
def test_an_unknown_architecture_lists_what_is_known(config: dict[str, Any], says: str) -> None:
    with pytest.raises(RunError) as caught:
        family(config)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_base_prefix_may_be_absent(kind: Any) -> None:
    family, values, config = kind
    ids = torch.arange(5)[None]
    prefixed, bare = (family.build(values, Held(tensors_of(config, prefixed)), Float32())(ids) for prefixed in (True, False))
    assert torch.equal(prefixed, bare)


def test_buffers_are_passed_over(kind: Any) -> None:
    family, values, config = kind
    held = tensors_of(config)
    if family is Gpt2:
        held["transformer.h.0.attn.bias"] = torch.ones(1, 1, 16, 16)
        held["h.0.attn.masked_bias"] = torch.tensor(-1e4)
    else:
        held["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(2)
        held["rotary_emb.inv_freq"] = torch.ones(2)
    family.build(values, Held(held), Float32())


def test_a_tied_head_may_be_in_the_file(kind: Any) -> None:
    family, values, config = kind
    held = tensors_of(config)
    without = family.build(values, Held(held), Float32())(torch.arange(5)[None])
    if config.tied:
        held["lm_head.weight"] = torch.zeros(24, 8)  # the embedding counts, as the config says
    assert torch.equal(without, family.build(values, Held(held), Float32())(torch.arange(5)[None]))


def every_name(config: LlamaConfig | Gpt2Config) -> Iterator[str]:
    yield from tensors_of(config)


def test_each_missing_tensor_is_named(kind: Any) -> None:
    family, values, config = kind
    for name in every_name(config):
        held = tensors_of(config)
        del held[name]
        with pytest.raises(RunError, match=rf"lacks the tensor {name.replace('.', '[.]')} of shape"):
            family.build(values, Held(held), Float32())


def test_each_misshapen_tensor_is_named(kind: Any) -> None:
    family, values, config = kind
    for name in every_name(config):
        held = tensors_of(config)
        held[name] = torch.zeros(3, *held[name].shape)
        with pytest.raises(RunError, match=rf"'{name.replace('.', '[.]')}' has the shape \[3, .*asks for"):
            family.build(values, Held(held), Float32())


@pytest.mark.parametrize("name", ["extra", "model.layers.1.input_layernorm.weight", "h.0.attn.other\x1b[31m", "transformer.wte.bias"])
def test_an_unexpected_tensor_is_named(kind: Any, name: str) -> None:
    family, values, config = kind
    with pytest.raises(RunError) as caught:
        family.build(values, Held({**tensors_of(config), name: torch.zeros(1)}), Float32())
    assert repr(name) in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_the_same_tensor_with_and_without_prefix(kind: Any) -> None:
    family, values, config = kind
    held = tensors_of(config)
    bare = config.layout().prefix
    name = next(name for name in held if name.startswith(bare))
    with pytest.raises(RunError, match="does not account for"):
        family.build(values, Held({**held, name.removeprefix(bare): held[name]}), Float32())


def test_a_type_that_is_not_read(kind: Any) -> None:
    family, values, config = kind
    with pytest.raises(RunError, match="of the type F64; read are F32, F16, BF16"):
        family.build(values, Held(tensors_of(config), "F64"), Float32())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
KEYS = sorted(
    {
        *LLAMA,
        *GPT2,
        "rope_scaling",
        "rope_parameters",
        "rope_theta",
        "head_dim",
        "tie_word_embeddings",
        "hidden_act",
        "num_key_value_heads",
        "n_inner",
    }
)


@given(st.dictionaries(st.sampled_from(KEYS), JSON), st.sampled_from(["llama", "gpt2"]))
def test_any_config_builds_or_is_refused_in_a_sentence(change: dict[str, Any], kind: str) -> None:
    values, reader = (LLAMA, LlamaConfig) if kind == "llama" else (GPT2, Gpt2Config)
    try:
        Weights(Held({}), reader.read({**values, **change}).layout())
        raise AssertionError("no tensor was there")
    except GencliError as error:
        sentence = str(error)
    assert len(sentence) < 500
    assert sentence.isprintable()
