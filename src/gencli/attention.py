"""Attention: rotary positions, who may look where, and heads that share keys. Knows no family and no norm."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from gencli.cache import KVCache
    from gencli.compiled.program import Norm
    from gencli.compiled.step import Step

Linear = Callable[[Tensor], Tensor]  # (N, in) -> (N, out)


class Rotary:
    """Positions as rotations of the halves of a head (Su et al. 2021, arXiv:2104.09864).

    The table of angles grows as positions are asked for, by doubling.
    """

    def __init__(self, head_dim: int, theta: float, device: torch.device) -> None:
        exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim
        self.frequencies = 1.0 / theta**exponents
        self._cos = self._sin = torch.empty(0, 1, head_dim, device=device)

    def angles(self, start: int, end: int) -> tuple[Tensor, Tensor]:
        """cos and sin (end - start, 1, head_dim) of positions; sin with the sign of its half."""
        cos, sin = self.table(end)
        return cos[start:end], sin[start:end]

    def table(self, end: int) -> tuple[Tensor, Tensor]:
        """cos and sin (at least `end`, 1, head_dim) of the positions from 0 on."""
        if end > len(self._cos):
            positions = torch.arange(max(end, 2 * len(self._cos), 256), dtype=torch.float32, device=self.frequencies.device)
            angles = torch.outer(positions, self.frequencies)
            self._cos = angles.cos().repeat(1, 2)[:, None]
            self._sin = torch.cat([-angles.sin(), angles.sin()], dim=1)[:, None]
        return self._cos, self._sin


def rotate_(x: Tensor, angles: tuple[Tensor, Tensor]) -> None:
    """Turn `x` (rows, T, heads, head_dim), in place, by the angles of its positions."""
    cos, sin = angles
    halves_swapped = x.roll(x.shape[-1] // 2, -1)
    x.mul_(cos).addcmul_(halves_swapped, sin)


def causal_mask(start: int, length: int, device: torch.device) -> Tensor | None:
    """(length, start + length), true where a position may look; None where SDPA's own masking serves."""
    if length == 1 or start == 0:
        return None
    return torch.ones(length, start + length, dtype=torch.bool, device=device).tril(start)


def own_positions(lengths: Tensor, end: int) -> Tensor:
    """(rows, 1, 1, end), true where each row's next position, after `lengths` (rows,) of them, may look."""
    return (torch.arange(end, device=lengths.device) <= lengths[:, None])[:, None, None]


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Attention of `q` (rows, T, heads, head_dim) over `k`, `v` (rows, kv_heads, L, head_dim): (rows, T, heads, head_dim)."""
    rows, length, heads, head_dim = q.shape
    kv_heads = k.shape[1]
    if length == 1:
        # one position sees all: the heads that share keys become its "positions", and no key is copied
        together = q.view(rows, kv_heads, heads // kv_heads, head_dim)
        return F.scaled_dot_product_attention(together, k, v, attn_mask=mask, scale=scale).reshape(q.shape)
    if heads != kv_heads:
        k, v = (t.repeat_interleave(heads // kv_heads, dim=1) for t in (k, v))
    return F.scaled_dot_product_attention(q.transpose(1, 2), k, v, attn_mask=mask, is_causal=mask is None, scale=scale).transpose(1, 2)


class Attention:
    """Causal self-attention; several query heads may share one head of keys and values.

    `qkv` gives queries, keys and values side by side, `out` mixes the heads.
    """

    def __init__(self, qkv: Linear, out: Linear, heads: int, kv_heads: int, head_dim: int, scale: float) -> None:
        self.qkv, self.out = qkv, out
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.scale = scale

    def __call__(
        self, x: Tensor, rows: int, layer: int, cache: KVCache | None, angles: tuple[Tensor, Tensor] | None, mask: Tensor | None
    ) -> Tensor:
        """`x` (rows x T, width) -> the same shape; the cache's layer `layer` is updated."""
        heads, kv_heads, head_dim = self.heads, self.kv_heads, self.head_dim
        qkv = self.qkv(x).view(rows, -1, heads + 2 * kv_heads, head_dim)
        if angles is not None:
            rotate_(qkv.narrow(2, 0, heads + kv_heads), angles)
        kv = qkv.narrow(2, heads, 2 * kv_heads).view(rows, -1, 2, kv_heads, head_dim).permute(2, 0, 3, 1, 4)
        k, v = (kv if cache is None else cache.update(layer, kv)).unbind(0)
        mixed = attend(qkv.narrow(2, 0, heads), k, v, mask, self.scale)
        return self.out(mixed.reshape(x.shape[0], -1))

    def compile(self, step: Step, norm: Norm, rotary: bool) -> None:
        """The same as instructions of a step."""
        step.multiply(self.qkv, "x", "qkv", norm)
        step.attend("qkv", "mixed", self.heads, self.kv_heads, self.head_dim, self.scale, rotary)
        step.multiply(self.out, "mixed", "x", add=True)
