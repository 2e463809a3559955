"""Rotations against their plain definition, and every kind of scaling against transformers."""

from __future__ import annotations

import math

import pytest
import torch

from gencli.rotary import Rotary, rotate_


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("head_dim", [2, 8, 10])
def test_rotation_turns_each_pair_by_its_angle(head_dim: int) -> None:
    rotary = Rotary(head_dim, 100.0, torch.device("cpu"))
    x = random(2, 3, 4, head_dim)
    turned = x.clone()
    rotate_(turned, rotary.angles(slice(5, 8), 8))
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
        for one, other in zip(grown.angles(slice(start, end), end), whole.angles(slice(start, end), end), strict=True):
            assert one.shape == (end - start, 1, 8)
            assert torch.equal(one, other)
