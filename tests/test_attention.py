"""Rotations and attention against their plain definitions."""

from __future__ import annotations

import math

import pytest
import torch

from gencli.attention import Rotary, attend, causal_mask, own_positions, rotate_


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


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


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2)])
def test_rows_of_different_length_look_at_their_own_positions(heads: int, kv_heads: int) -> None:
    q, k, v = random(3, 1, heads, 6), random(3, kv_heads, 9, 6, seed=1), random(3, kv_heads, 9, 6, seed=2)
    lengths = torch.tensor([0, 8, 3])
    got = attend(q, k, v, own_positions(lengths, 9), 0.3)
    for row, length in enumerate(lengths.tolist()):
        alone = attend(q[row : row + 1], k[row : row + 1, :, : length + 1], v[row : row + 1, :, : length + 1], None, 0.3)
        torch.testing.assert_close(got[row : row + 1], alone)
