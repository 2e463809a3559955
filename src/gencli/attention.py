"""Attention: who may look where, and heads that share keys. Knows no family, and a norm only as a function."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.rotary import rotate_

if TYPE_CHECKING:
    from gencli.cache import Keeps
    from gencli.compiled.program import Norm
    from gencli.compiled.step import Step

BLOCK = 128  # positions whose queries see the same keys: torch's causal kernel computes all scores of 512 and drops half

Linear = Callable[[Tensor], Tensor]  # (N, in) -> (N, out)


class Sight(NamedTuple):
    """Who may look where: at nothing before position `first`; at what is there by `mask`, else at all up to oneself."""

    mask: Tensor | None
    first: int = 0


def sight(places: slice | Tensor, end: int, device: torch.device, window: int | None = None) -> Sight:
    """Who of the new positions may look where: each at itself and all before it, within a `window` at that many in all.

    `places` are the same for all rows, up to `end`, or (rows,) one a row, of which the last is `end` - 1. The mask is
    (T, end - first) or (rows, 1, 1, end); None where SDPA's own masking serves.
    """
    if not isinstance(places, slice):
        seen = torch.arange(end, device=device)
        mask = seen <= places[:, None]
        if window and window < end:
            mask &= seen > places[:, None] - window
        return Sight(mask[:, None, None])
    start, length = places.start, end - places.start
    first = max(0, start + 1 - window) if window else 0
    bound = window is not None and window < end
    if length == 1 or (start == 0 and not bound):
        return Sight(None, first)
    mask = torch.ones(length, end - first, dtype=torch.bool, device=device).tril_(start - first)
    return Sight(mask.triu_(start - first + 1 - window) if bound and window else mask, first)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, cap: float | None = None) -> Tensor:
    """Attention of `q` (rows, T, heads, head_dim) over `k`, `v` (rows, kv_heads, L, head_dim): (rows, T, heads, head_dim).

    With a `cap`, a score s is cap x tanh(s / cap) (Gemma 2, arXiv:2408.00118).
    """
    rows, length, heads, head_dim = q.shape
    kv_heads = k.shape[1]
    if cap is not None:
        return _capped(q, k, v, mask, scale, cap)
    if length == 1:
        # one position sees all: the heads that share keys become its "positions", and no key is copied
        together = q.view(rows, kv_heads, heads // kv_heads, head_dim)
        return F.scaled_dot_product_attention(together, k, v, attn_mask=mask, scale=scale).reshape(q.shape)
    if heads != kv_heads:
        k, v = (t.repeat_interleave(heads // kv_heads, dim=1) for t in (k, v))
    q = q.transpose(1, 2)
    if mask is not None or length <= BLOCK or q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, scale=scale).transpose(1, 2)
    ends = [min(start + BLOCK, length) for start in range(0, length, BLOCK)]
    parts = [
        F.scaled_dot_product_attention(part, k[:, :, :end], v[:, :, :end], attn_mask=_up_to_oneself(part.shape[2], end), scale=scale)
        for part, end in zip(torch.split(q, BLOCK, dim=2), ends, strict=True)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2)


@lru_cache(maxsize=8)  # the parts of one prompt, for all its layers
def _up_to_oneself(length: int, end: int) -> Tensor:
    """(length, end) who of the last `length` of `end` positions sees which."""
    return torch.ones(length, end, dtype=torch.bool).tril_(end - length)


def _capped(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, cap: float) -> Tensor:
    rows, length, heads, head_dim = q.shape
    kv_heads = k.shape[1]
    if mask is None and length > 1:
        mask = torch.ones(length, length, dtype=torch.bool, device=q.device).tril_()
    shared = q.view(rows, length, kv_heads, heads // kv_heads, head_dim).permute(0, 2, 3, 1, 4)
    scores = (shared @ k[:, :, None].transpose(-1, -2)).mul_(scale / cap).tanh_().mul_(cap)  # (rows, kv_heads, sharing, T, L)
    if mask is not None:
        scores.masked_fill_(~(mask if mask.dim() == 2 else mask[:, None]), -torch.inf)
    return (scores.softmax(-1) @ v[:, :, None]).permute(0, 3, 1, 2, 4).reshape(q.shape)


class Attention:
    """Causal self-attention; several query heads may share one head of keys and values.

    `qkv` gives queries, keys and values side by side, `out` mixes the heads. `norms` change queries and keys
    (rows, T, heads, head_dim) before they are turned, and `clip` bounds them and the values. A position sees
    `window` positions (None: all). `cap` bounds scores.
    """

    def __init__(
        self,
        qkv: Linear,
        out: Linear,
        heads: int,
        kv_heads: int,
        head_dim: int,
        scale: float,
        *,
        norms: tuple[Linear, Linear] | None = None,
        clip: float | None = None,
        window: int | None = None,
        cap: float | None = None,
    ) -> None:
        self.qkv, self.out = qkv, out
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.scale = scale
        self.norms, self.clip, self.window, self.cap = norms, clip, window, cap

    def __call__(self, x: Tensor, rows: int, layer: int, cache: Keeps | None, angles: tuple[Tensor, Tensor] | None, sight: Sight) -> Tensor:
        """`x` (rows x T, width) -> the same shape; the cache's layer `layer` is updated."""
        heads, kv_heads, head_dim = self.heads, self.kv_heads, self.head_dim
        qkv = self.qkv(x).view(rows, -1, heads + 2 * kv_heads, head_dim)
        if self.norms is not None:
            for norm, first, count in zip(self.norms, (0, heads), (heads, kv_heads), strict=True):
                part = qkv.narrow(2, first, count)
                part.copy_(norm(part))
        if self.clip is not None:
            qkv.clamp_(-self.clip, self.clip)
        if angles is not None:
            rotate_(qkv.narrow(2, 0, heads + kv_heads), angles)
        kv = qkv.narrow(2, heads, 2 * kv_heads).view(rows, -1, 2, kv_heads, head_dim).permute(2, 0, 3, 1, 4)
        if cache is not None:
            kv = cache.update(layer, kv)
        k, v = (kv.narrow(3, sight.first, kv.shape[3] - sight.first) if sight.first else kv).unbind(0)
        mixed = attend(qkv.narrow(2, 0, heads), k, v, sight.mask, self.scale, self.cap)
        return self.out(mixed.reshape(x.shape[0], -1))

    def compile(self, step: Step, norm: Norm, rotary: bool) -> None:
        """The same as instructions of a step, for positions that its window does not bound. Raises `Unfit` where there are none for it."""
        from gencli.compiled.program import Unfit

        if self.norms is not None or self.clip is not None or self.cap is not None:
            raise Unfit
        step.multiply(self.qkv, "x", "qkv", norm)
        step.attend("qkv", "mixed", self.heads, self.kv_heads, self.head_dim, self.scale, rotary)
        step.multiply(self.out, "mixed", "x", add=True)
