"""Norms, rotary positions, attention, MLPs and the stack of them: what families are built of. Knows no family.

Within the stack the rows and positions of a batch stand in one axis: (N, width) with N = rows x T. A
layer is a plain object that holds tensors; a `Linear` is whatever a precision makes of a weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.errors import RunError, UsageError, shown

if TYPE_CHECKING:
    from gencli.cache import KVCache

Linear = Callable[[Tensor], Tensor]  # (N, in) -> (N, out)


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


ACTIVATIONS: Mapping[str, Linear] = MappingProxyType(
    {
        "gelu": F.gelu,
        "gelu_fast": _gelu_tanh,
        "gelu_new": _gelu_tanh,
        "gelu_pytorch_tanh": _gelu_tanh,
        "relu": F.relu,
        "silu": F.silu,
        "swish": F.silu,
        "tanh": torch.tanh,
    }
)


def activation(name: str) -> Linear:
    """The activation of this name; raises `RunError` that lists what is known."""
    if name not in ACTIVATIONS:
        raise RunError(f"the activation {shown(name)} is not known. Choices: {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]


class RMSNorm:
    """x / sqrt(mean(x^2) + eps) x weight, over the last axis (Zhang and Sennrich 2019, arXiv:1910.07467)."""

    def __init__(self, weight: Tensor, eps: float) -> None:
        width = len(weight)
        # 1 / sqrt(sum / width + eps) = sqrt(width) / sqrt(sum + width x eps): the mean's division is done here, once
        self._weight = weight.float() * width**0.5
        self._eps = width * eps

    def __call__(self, x: Tensor) -> Tensor:
        # in place on our own numbers: F.rms_norm costs the same at one row and many times that at hundreds
        scale = (x * x).sum(-1, keepdim=True).add_(self._eps).rsqrt_()
        return (x * scale).mul_(self._weight)


class LayerNorm:
    """(x - mean) / sqrt(variance + eps) x weight + bias, over the last axis (Ba et al. 2016, arXiv:1607.06450)."""

    def __init__(self, weight: Tensor, bias: Tensor, eps: float) -> None:
        self._settings = ([len(weight)], weight.float(), bias.float(), eps)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.layer_norm(x, *self._settings)


class Embedding:
    """Rows of a table (vocabulary, width) by id, in float32, however the table is held."""

    def __init__(self, table: Tensor) -> None:
        self.table = table

    def __call__(self, ids: Tensor) -> Tensor:
        """`ids` (rows, T) -> (rows, T, width)."""
        return F.embedding(ids, self.table).float()


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
        if end > len(self._cos):
            positions = torch.arange(max(end, 2 * len(self._cos), 256), dtype=torch.float32, device=self.frequencies.device)
            angles = torch.outer(positions, self.frequencies)
            self._cos = angles.cos().repeat(1, 2)[:, None]
            self._sin = torch.cat([-angles.sin(), angles.sin()], dim=1)[:, None]
        return self._cos[start:end], self._sin[start:end]


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


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Attention of `q` (rows, T, heads, head_dim) over `k`, `v` (rows, kv_heads, L, head_dim): (rows, T, heads, head_dim)."""
    rows, length, heads, head_dim = q.shape
    kv_heads = k.shape[1]
    if length == 1:
        # one position sees all: the heads that share keys become its "positions", and no key is copied
        together = q.view(rows, kv_heads, heads // kv_heads, head_dim)
        return F.scaled_dot_product_attention(together, k, v, scale=scale).reshape(q.shape)
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


class MLP:
    """Up, an activation, down."""

    def __init__(self, up: Linear, activation: Linear, down: Linear) -> None:
        self.up, self.activation, self.down = up, activation, down

    def __call__(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))


class GatedMLP:
    """Up times an activated gate, down (Shazeer 2020, arXiv:2002.05202); `gate_up` gives both side by side."""

    def __init__(self, gate_up: Linear, activation: Linear, down: Linear) -> None:
        self.gate_up, self.activation, self.down = gate_up, activation, down

    def __call__(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(self.activation(gate).mul_(up))


class Block:
    """One layer: attention and an MLP, each after its norm and added to what came in."""

    def __init__(self, first_norm: Linear, attention: Attention, second_norm: Linear, mlp: Linear) -> None:
        self.first_norm, self.attention = first_norm, attention
        self.second_norm, self.mlp = second_norm, mlp


class Transformer:
    """Embedding, blocks in their order, a norm, the head: token ids -> logits.

    Positions come in by `rotary` angles within attention, or as a learned table (context, width).
    """

    def __init__(
        self,
        embedding: Embedding,
        blocks: Sequence[Block],
        norm: Linear,
        head: Linear,
        context: int,
        rotary: Rotary | None = None,
        positions: Tensor | None = None,
    ) -> None:
        self.embedding, self.blocks, self.norm, self.head = embedding, tuple(blocks), norm, head
        self.context = context
        self.rotary, self.positions = rotary, positions

    def __call__(self, ids: Tensor, cache: KVCache | None, last: bool) -> Tensor:
        """`ids` (rows, T) -> logits (rows, T, vocabulary) float32, of the last position only with `last`.

        The cache moves on by T. Raises `UsageError` for positions beyond the context.
        """
        rows, length = ids.shape
        start = cache.length if cache is not None else 0
        if start + length > self.context:
            raise UsageError(f"the context holds {self.context} positions, and {start + length} are asked for.")
        x = self.embedding(ids)  # (rows, T, width)
        if self.positions is not None:
            x = x + self.positions[start : start + length]
        x = x.view(rows * length, -1)
        angles = self.rotary.angles(start, start + length) if self.rotary else None
        mask = causal_mask(start, length, ids.device)
        if cache is not None:
            cache.begin(length)
        for layer, block in enumerate(self.blocks):  # what a product gives is ours alone: added to in place
            x = block.attention(block.first_norm(x), rows, layer, cache, angles, mask).add_(x)
            x = block.mlp(block.second_norm(x)).add_(x)
        if cache is not None:
            cache.advance()
        if last:
            x = x.view(rows, length, -1)[:, -1]
        return self.head(self.norm(x)).view(rows, 1 if last else length, -1)
