"""Norms, rotations and attention against their plain definitions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from gencli.errors import RunError
from gencli.layers import ACTIVATIONS, Embedding, LayerNorm, RMSNorm, Rotary, activation, attend, causal_mask, rotate_


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


@pytest.mark.parametrize("head_dim", [2, 8, 10])
def test_rotation_turns_each_pair_by_its_angle(head_dim: int) -> None:
    rotary = Rotary(head_dim, 100.0, torch.device("cpu"))
    x = random(2, 3, 4, head_dim)
    turned = x.clone()
    rotate_(turned, rotary.angles(5, 8))
    half = head_dim // 2
    for position in range(3):
        for i in range(half):
            angle = (5 + position) / 100 ** (2 * i / head_dim)
            a, b = x[:, position, :, i], x[:, position, :, half + i]
            torch.testing.assert_close(turned[:, position, :, i], a * math.cos(angle) - b * math.sin(angle))
            torch.testing.assert_close(turned[:, position, :, half + i], b * math.cos(angle) + a * math.sin(angle))


def test_the_table_of_angles_grows_and_stays_the_same() -> None:
    grown, whole = (Rotary(8, 10000.0, torch.device("cpu")) for _ in range(2))
    whole.angles(0, 3000)
    for start, end in ((0, 4), (4, 5), (255, 300), (1023, 1025), (2990, 3000), (0, 1)):
        for one, other in zip(grown.angles(start, end), whole.angles(start, end), strict=True):
            assert one.shape == (end - start, 1, 8)
            assert torch.equal(one, other)


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (4, 1)])
@pytest.mark.parametrize(("start", "length"), [(0, 1), (0, 5), (6, 1), (6, 4)])
def test_attention_is_its_definition(heads: int, kv_heads: int, start: int, length: int) -> None:
    q, k, v = random(2, heads, length, 6), random(2, kv_heads, start + length, 6, seed=1), random(2, kv_heads, start + length, 6, seed=2)
    got = attend(q.transpose(1, 2), k, v, causal_mask(start, length, q.device), 0.3).transpose(1, 2)
    assert got.shape == q.shape
    for head in range(heads):
        shared = head * kv_heads // heads
        scores = q[:, head] @ k[:, shared].transpose(1, 2) * 0.3
        for position in range(length):
            scores[:, position, start + position + 1 :] = -torch.inf
        torch.testing.assert_close(got[:, head], scores.softmax(-1) @ v[:, shared])


def test_an_unknown_activation_lists_the_choices() -> None:
    with pytest.raises(RunError, match=r"the activation 'geglu' is not known. Choices: gelu, .*silu"):
        activation("geglu")
    for name in ACTIVATIONS:
        assert activation(name)(torch.zeros(2)).shape == (2,)


def test_gelu_new_is_the_formula_of_gpt2() -> None:
    x = random(100) * 3
    formula = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    torch.testing.assert_close(activation("gelu_new")(x), formula)
