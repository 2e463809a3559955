"""Norms, embeddings and activations against their plain definitions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from gencli.errors import RunError
from gencli.layers import ACTIVATIONS, Embedding, LayerNorm, RMSNorm, activation


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_rms_norm_is_torchs_and_leaves_its_input() -> None:
    x, weight = random(5, 12), random(12, seed=1)
    before = x.clone()
    torch.testing.assert_close(RMSNorm(weight, 1e-5)(x), F.rms_norm(x, (12,), weight, 1e-5))
    assert torch.equal(x, before)


def test_norms_compute_in_float32_whatever_the_file_has() -> None:
    x, weight, bias = random(5, 12), random(12, seed=1).half(), random(12, seed=2).half()
    assert RMSNorm(weight, 1e-5)(x).dtype == torch.float32
    torch.testing.assert_close(LayerNorm(weight, bias, 1e-5)(x), F.layer_norm(x, (12,), weight.float(), bias.float(), 1e-5))


def test_an_embedding_held_in_half_is_handed_out_in_float32() -> None:
    table = random(7, 4).half()
    ids = torch.tensor([[3, 0], [6, 6]])
    assert torch.equal(Embedding(table)(ids), table.float()[ids])


def test_an_unknown_activation_lists_the_choices() -> None:
    with pytest.raises(RunError, match=r"the activation 'geglu' is not known. Choices: gelu, .*silu"):
        activation("geglu")
    for name in ACTIVATIONS:
        assert activation(name)(torch.zeros(2)).shape == (2,)


def test_gelu_new_is_the_formula_of_gpt2() -> None:
    x = random(100) * 3
    formula = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    torch.testing.assert_close(activation("gelu_new")(x), formula)
