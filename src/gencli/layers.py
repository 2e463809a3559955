"""Norms, MLPs and the stack of layers: what families are built of. Knows no family.

Within the stack the rows and positions of a batch stand in one axis: (N, width) with N = rows x T. A
layer is a plain object that holds tensors; a `Linear` is whatever a precision makes of a weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.attention import Attention, Linear, Rotary, causal_mask, own_positions
from gencli.errors import RunError, UsageError, shown

if TYPE_CHECKING:
    from gencli.cache import KVCache
    from gencli.compiled.program import Norm as CompiledNorm
    from gencli.compiled.step import Step


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


# what a compiled step calls them
COMPILED: Mapping[Linear, str] = MappingProxyType(
    {F.gelu: "gelu", _gelu_tanh: "gelu_tanh", F.relu: "relu", F.silu: "silu", torch.tanh: "tanh"}
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
        self._plain = weight.float(), eps
        # 1 / sqrt(sum / width + eps) = sqrt(width) / sqrt(sum + width x eps): the mean's division is done here, once
        self._weight = weight.float() * width**0.5
        self._eps = width * eps

    def __call__(self, x: Tensor) -> Tensor:
        # in place on our own numbers: F.rms_norm costs the same at one row and many times that at hundreds
        scale = (x * x).sum(-1, keepdim=True).add_(self._eps).rsqrt_()
        return (x * scale).mul_(self._weight)

    def compiled(self) -> CompiledNorm:
        """The same within a compiled step."""
        from gencli.compiled.program import Norm

        return Norm("rms", self._plain[0], None, self._plain[1])


class LayerNorm:
    """(x - mean) / sqrt(variance + eps) x weight + bias, over the last axis (Ba et al. 2016, arXiv:1607.06450)."""

    def __init__(self, weight: Tensor, bias: Tensor, eps: float) -> None:
        self._settings = ([len(weight)], weight.float(), bias.float(), eps)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.layer_norm(x, *self._settings)

    def compiled(self) -> CompiledNorm:
        """The same within a compiled step."""
        from gencli.compiled.program import Norm

        return Norm("layer", *self._settings[1:])


Norm = RMSNorm | LayerNorm


class Embedding:
    """Rows of a table (vocabulary, width) by id, in float32, however the table is held."""

    def __init__(self, table: Tensor) -> None:
        self.table = table

    def __call__(self, ids: Tensor) -> Tensor:
        """`ids` (rows, T) -> (rows, T, width)."""
        return F.embedding(ids, self.table).float()


class MLP:
    """Up, an activation, down."""

    def __init__(self, up: Linear, activation: Linear, down: Linear) -> None:
        self.up, self.activation, self.down = up, activation, down

    def __call__(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))

    def compile(self, step: Step, norm: CompiledNorm) -> None:
        """The same as instructions of a step."""
        step.multiply(self.up, "x", "hidden", norm, COMPILED[self.activation])
        step.multiply(self.down, "hidden", "x", add=True)


class GatedMLP:
    """Up times an activated gate, down (Shazeer 2020, arXiv:2002.05202); `gate_up` gives both side by side."""

    def __init__(self, gate_up: Linear, activation: Linear, down: Linear) -> None:
        self.gate_up, self.activation, self.down = gate_up, activation, down

    def __call__(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(self.activation(gate).mul_(up))

    def compile(self, step: Step, norm: CompiledNorm) -> None:
        """The same as instructions of a step."""
        step.multiply(self.gate_up, "x", "hidden", norm, COMPILED[self.activation], gated=True)
        step.multiply(self.down, "hidden", "x", add=True)


class Block:
    """One layer: attention and an MLP, each after its norm and added to what came in."""

    def __init__(self, first_norm: Norm, attention: Attention, second_norm: Norm, mlp: MLP | GatedMLP) -> None:
        self.first_norm, self.attention = first_norm, attention
        self.second_norm, self.mlp = second_norm, mlp


class Transformer:
    """Embedding, blocks in their order, a norm, the head: token ids -> logits.

    Positions come in by `rotary` angles within attention, or as a learned table (context, width). Where
    the linear layers are compiled, one token a row goes through a compiled step.
    """

    def __init__(
        self,
        embedding: Embedding,
        blocks: Sequence[Block],
        norm: Norm,
        head: Linear,
        context: int,
        rotary: Rotary | None = None,
        positions: Tensor | None = None,
    ) -> None:
        self.embedding, self.blocks, self.norm, self.head = embedding, tuple(blocks), norm, head
        self.context = context
        self.rotary, self.positions = rotary, positions
        self._step = self._compile() if hasattr(head, "held") else None

    def __call__(self, ids: Tensor, cache: KVCache | None, last: bool) -> Tensor:
        """`ids` (rows, T) -> logits (rows, T, vocabulary) float32, of the last position only with `last`.

        The cache moves on by T; where its rows differ in length, T is 1. Raises `UsageError` for positions
        beyond the context.
        """
        rows, length = ids.shape
        start = cache.length if cache is not None else 0
        if start + length > self.context:
            raise UsageError(f"the context holds {self.context} positions, and {start + length} are asked for.")
        # where every row's new positions stand: one slice for all, or an index (rows,)
        places = slice(start, start + length) if cache is None or cache.even else torch.from_numpy(cache.lengths).to(ids.device)
        x = self.embedding(ids)  # (rows, T, width)
        if self.positions is not None:
            new = self.positions[places]
            x = x + (new if isinstance(places, slice) else new[:, None])
        x = x.view(rows * length, -1)
        if cache is not None and length == 1 and self._step is not None:
            return self._step.run(x, cache, self.rotary.table(start + 1) if self.rotary else None)[:, None]
        angles = self._angles(start + length, places)
        mask = causal_mask(start, length, ids.device) if isinstance(places, slice) else own_positions(places, start + 1)
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

    def _angles(self, end: int, places: slice | Tensor) -> tuple[Tensor, Tensor] | None:
        if self.rotary is None:
            return None
        cos, sin = self.rotary.table(end)
        return (cos[places], sin[places]) if isinstance(places, slice) else (cos[places][:, None], sin[places][:, None])

    def _compile(self) -> Step | None:
        """A step of all the layers; None where one of them cannot be compiled."""
        from gencli.compiled.program import Unfit
        from gencli.compiled.step import Step

        step = Step()
        try:
            for block in self.blocks:
                block.attention.compile(step, block.first_norm.compiled(), self.rotary is not None)
                block.mlp.compile(step, block.second_norm.compiled())
            step.multiply(self.head, "x", "logits", self.norm.compiled())
        except Unfit:
            return None
        return step
