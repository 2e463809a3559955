"""Attention against its plain definition: who may look where, shared heads, windows, soft caps."""

from __future__ import annotations

import pytest
import torch

from gencli.attention import BLOCK, attend, sight


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("cap", [None, 0.5])
@pytest.mark.parametrize("window", [None, 1, 3, 50])
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (4, 1)])
@pytest.mark.parametrize(("start", "length"), [(0, 1), (0, 5), (6, 1), (6, 4), (0, 2 * BLOCK + 3)])
def test_attention_is_its_definition(heads: int, kv_heads: int, start: int, length: int, window: int | None, cap: float | None) -> None:
    q, k, v = random(2, heads, length, 6), random(2, kv_heads, start + length, 6, seed=1), random(2, kv_heads, start + length, 6, seed=2)
    mask, first = sight(slice(start, start + length), start + length, q.device, window)
    got = attend(q.transpose(1, 2), k[:, :, first:], v[:, :, first:], mask, 0.3, cap).transpose(1, 2)
    assert got.shape == q.shape
    for head in range(heads):
        shared = head * kv_heads // heads
        scores = q[:, head] @ k[:, shared].transpose(1, 2) * 0.3
        if cap is not None:
            scores = cap * (scores / cap).tanh()
        for position in range(length):
            scores[:, position, start + position + 1 :] = -torch.inf
            if window is not None:
                scores[:, position, : max(0, start + position + 1 - window)] = -torch.inf
        torch.testing.assert_close(got[:, head], scores.softmax(-1) @ v[:, shared])


@pytest.mark.parametrize("cap", [None, 0.5])
@pytest.mark.parametrize("window", [None, 4, 20])
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2)])
def test_rows_of_different_length_look_at_their_own_positions(heads: int, kv_heads: int, window: int | None, cap: float | None) -> None:
    q, k, v = random(3, 1, heads, 6), random(3, kv_heads, 9, 6, seed=1), random(3, kv_heads, 9, 6, seed=2)
    lengths = torch.tensor([0, 8, 3])
    got = attend(q, k, v, sight(lengths, 9, q.device, window).mask, 0.3, cap)
    for row, length in enumerate(lengths.tolist()):
        seen = slice(max(0, length + 1 - window) if window else 0, length + 1)
        alone = attend(q[row : row + 1], k[row : row + 1, :, seen], v[row : row + 1, :, seen], None, 0.3, cap)
        torch.testing.assert_close(got[row : row + 1], alone)


def test_without_a_window_nothing_is_masked_that_need_not_be() -> None:
    device = torch.device("cpu")
    for window in (None, 8):
        assert sight(slice(0, 8), 8, device, window) == sight(slice(7, 8), 8, device, window) == (None, 0)
    assert sight(slice(20, 21), 21, device, 8) == (None, 13)  # a step looks at fewer keys, and needs no mask for it
