"""What every family stands on: finding it, its settings, and every tensor accounted for."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gencli import compiled
from gencli.decoder import Decoder
from gencli.errors import GencliError, RunError
from gencli.formats import Header
from gencli.models import RandomTensors, Weights, family
from gencli.models.llama import Llama
from gencli.precisions.float32 import Float32
from gencli.registry import find, names
from gencli.rotary import Rotary
from proofs import quick

GPT2: dict[str, Any] = {"vocab_size": 24, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16}
BLOCK: dict[str, Any] = {
    "vocab_size": 24,
    "hidden_size": 16,
    "intermediate_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "num_experts": 3,
    "num_local_experts": 3,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 6,
    "shared_expert_intermediate_size": 10,
    "rotary_pct": 0.5,
}
SMALL = {name: GPT2 if name == "gpt2" else BLOCK for name in names("models")}
KINDS = {f"{name}{tied}": {**SMALL[name], "tie_word_embeddings": bool(tied)} for name in SMALL for tied in ("", " tied")}


class Held:
    """Tensors in memory, under whatever names."""

    def __init__(self, tensors: dict[str, torch.Tensor], dtype: str = "F32") -> None:
        self.tensors = tensors
        self.headers = {name: Header(dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}

    def on(self, device: str) -> Held:
        return self

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.tensors[name]


def tensors_of(config: Any, prefixed: bool = True) -> dict[str, torch.Tensor]:
    layout = config.layout()
    held = RandomTensors(layout, torch.Generator().manual_seed(0))
    return {(layout.prefix if prefixed and name != layout.head else "") + name: held[name] for name in held.headers}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> tuple[Any, dict[str, Any], Any]:
    family, values = find("models", request.param.split()[0]), KINDS[request.param]
    return family, values, family.read(values)


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
            "'LlamaForCausalLm' is not known. The nearest is LlamaForCausalLM. Choices: GPT2LMHeadModel, GPTNeoXForCausalLM, ",
        ),
        ({"architectures": ["\x1b]0;x\x07"]}, r"'\x1b]0;x\x07' is not known. Choices"),
        ({"architectures": [["nested"]]}, "['nested'] is not known"),
        ({"model_type": "lama"}, "The nearest is llama. Choices: gemma2, "),
        ({}, "the architecture None is not known"),
        ({"architectures": ["x" * 10**6]}, "is not known"),
    ],
)
def test_an_unknown_architecture_lists_what_is_known(config: dict[str, Any], says: str) -> None:
    with pytest.raises(RunError) as caught:
        family(config)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_base_prefix_may_be_absent(kind: Any) -> None:
    family, values, config = kind
    ids = torch.arange(5)[None]
    prefixed, bare = (family.build(values, Held(tensors_of(config, prefixed)), Float32())(ids) for prefixed in (True, False))
    assert torch.equal(prefixed, bare)


def test_buffers_are_passed_over(kind: Any) -> None:
    family, values, config = kind
    held = tensors_of(config)
    if family is find("models", "gpt2"):
        held["transformer.h.0.attn.bias"] = torch.ones(1, 1, 16, 16)
        held["h.0.attn.masked_bias"] = torch.tensor(-1e4)
    elif family is find("models", "gpt_neox"):
        held["gpt_neox.layers.0.attention.bias"] = torch.ones(1, 1, 16, 16)
        held["gpt_neox.layers.0.attention.rotary_emb.inv_freq"] = torch.ones(2)
    else:
        held["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(2)
        held["rotary_emb.inv_freq"] = torch.ones(2)
    family.build(values, Held(held), Float32())


def test_a_tied_head_may_be_in_the_file(kind: Any) -> None:
    family, values, config = kind
    held = tensors_of(config)
    without = family.build(values, Held(held), Float32())(torch.arange(5)[None])
    if config.tied:
        held[config.layout().head] = torch.zeros(24, 16)  # the embedding counts, as the config says
    assert torch.equal(without, family.build(values, Held(held), Float32())(torch.arange(5)[None]))


def test_each_missing_tensor_is_named(kind: Any) -> None:
    family, values, config = kind
    for name in tensors_of(config):
        held = tensors_of(config)
        del held[name]
        with pytest.raises(RunError, match=rf"lacks the tensor {name.replace('.', '[.]')} of shape"):
            family.build(values, Held(held), Float32())


def test_each_misshapen_tensor_is_named(kind: Any) -> None:
    family, values, config = kind
    for name in tensors_of(config):
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
        *GPT2,
        *BLOCK,
        *("rope_scaling", "rope_parameters", "rope_theta", "original_max_position_embeddings", "max_position_embeddings"),
        *("tie_word_embeddings", "hidden_act", "n_inner", "layer_types", "sliding_window", "use_sliding_window", "no_rope_layers"),
        *("text_config", "query_pre_attn_scalar", "attn_logit_softcapping", "residual_multiplier", "mlp_only_layers", "clip_qkv"),
    }
)
ROTATIONS = st.fixed_dictionaries(
    {"rope_type": st.sampled_from(["default", "linear", "dynamic", "llama3", "yarn", "longrope", "su"])},
    optional={
        **{key: st.floats(0, 1e9) | st.integers() for key in ("factor", "rope_theta", "beta_fast", "low_freq_factor", "attention_factor")},
        **{key: st.lists(st.floats(), min_size=2, max_size=4) for key in ("short_factor", "long_factor")},
        "original_max_position_embeddings": st.integers(0, 100),
        "truncate": st.booleans(),
    },
)


@given(st.dictionaries(st.sampled_from(KEYS), JSON), ROTATIONS | st.none(), st.sampled_from(sorted(SMALL)))
def test_any_config_builds_or_is_refused_in_a_sentence(change: dict[str, Any], rotation: Any, name: str) -> None:
    values = {**SMALL[name], "rope_scaling": rotation, **change}
    try:
        Weights(Held({}), find("models", name).read(values).layout())
        raise AssertionError("no tensor was there")
    except GencliError as error:
        sentence = str(error)
    assert len(sentence) < 600
    assert sentence.isprintable()


@given(ROTATIONS, st.integers(1, 10**5))
def test_any_rotation_that_is_read_turns_by_numbers(rotation: dict[str, Any], end: int) -> None:
    try:
        config = Llama.read({**BLOCK, "rope_scaling": rotation, "max_position_embeddings": 60})
    except RunError:
        return
    read = config.rotations[0]
    assert read is not None
    rotary = Rotary(8, read.theta, torch.device("cpu"), read.scaling)
    horizon = rotary.horizon(min(end, config.context))
    assert torch.stack(rotary.table(8, horizon)).isfinite().all()


IN_STEPS = ("gpt2", "gpt_neox", "granite", "llama", "mistral", "phi3", "qwen2", "smollm3")  # the others go layer by layer
APART = {"float32": 1e-5, "float16": 4e-3, "bfloat16": 2e-2, "int8": 6e-2}  # of the size of the logits


@pytest.mark.parametrize(
    ("name", "precision"), quick(product(SMALL, names("precisions")), lambda each: each[1] == "float16" or each[0] == "llama")
)
@torch.inference_mode()
def test_every_family_runs_under_every_precision(name: str, precision: str) -> None:
    family = find("models", name)
    config = family.read({**SMALL[name], "num_hidden_layers": 2, "sliding_window": 4, "use_sliding_window": True})

    def built(precision: str, fast: bool) -> Any:
        layout = config.layout()
        tensors = RandomTensors(layout, torch.Generator().manual_seed(0), spread=0.3)
        return family(config, Weights(tensors, layout), find("precisions", precision)(fast=fast))

    ids = torch.arange(9) * 5 % 24
    model = built(precision, fast=True)
    assert (model._network._step is not None) == (compiled.available() and name in IN_STEPS)
    expected = built("float32", fast=False)(ids[None])[0]
    assert (model(ids[None])[0] - expected).norm() < APART[precision] * expected.norm()
    decoder = Decoder(model)
    decoder.prefill(ids[:2].tolist())
    steps = torch.cat([decoder.step([token]) for token in ids[2:].tolist()])  # by compiled steps up to the window, beyond it not
    assert (steps - expected[2:]).norm() < APART[precision] * expected[2:].norm()
    decoder.prefill(ids[:3].tolist())
    decoder.join(ids[:7].tolist())
    rows = torch.cat([decoder.step([int(ids[3]), int(ids[7])]), decoder.step([int(ids[4]), int(ids[8])])])
    assert (rows - expected[[3, 7, 4, 8]]).norm() < APART[precision] * rows.norm()
