"""Norms, MLPs and the blocks of both: what families are built of. Knows no family.

Within a stack of them the rows and positions of a batch stand in one axis: (N, width) with N = rows x T. A
layer is a plain object that holds tensors; a `Linear` is whatever a precision makes of a weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.attention import Attention, Linear, Sight
from gencli.errors import RunError, shown
from gencli.experts import Experts

if TYPE_CHECKING:
    from gencli.cache import Keeps
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
    """Rows of a table (vocabulary, width) by id, times `scale`, in float32, however the table is held."""

    def __init__(self, table: Tensor, scale: float = 1.0) -> None:
        self.table, self.scale = table, scale

    def __call__(self, ids: Tensor) -> Tensor:
        """`ids` (rows, T) -> (rows, T, width)."""
        x = F.embedding(ids, self.table).float()
        return x if self.scale == 1 else x * self.scale


def _activated(linear: Linear, act: Linear, gated: bool) -> Linear | None:
    """A compiled product and its activation at once; None where there is no such thing."""
    at_once = getattr(linear, "activated", None)
    return at_once(COMPILED[act], gated) if at_once and act in COMPILED else None


class MLP:
    """Up, an activation, down."""

    def __init__(self, up: Linear, activation: Linear, down: Linear) -> None:
        self.up, self.activation, self.down = up, activation, down
        self._hidden = _activated(up, activation, False) or (lambda x: activation(up(x)))

    def __call__(self, x: Tensor) -> Tensor:
        return self.down(self._hidden(x))

    def compile_up(self, step: Step, norm: CompiledNorm) -> None:
        """The way up as an instruction of a step."""
        step.multiply(self.up, "x", "hidden", norm, COMPILED[self.activation])

    def compile_down(self, step: Step) -> None:
        """The way down, added to what goes through the layers."""
        step.multiply(self.down, "hidden", "x", add=True)


class GatedMLP:
    """Up times an activated gate, down (Shazeer 2020, arXiv:2002.05202); `gate_up` gives both side by side."""

    def __init__(self, gate_up: Linear, activation: Linear, down: Linear) -> None:
        self.gate_up, self.activation, self.down = gate_up, activation, down
        self._hidden = _activated(gate_up, activation, True) or self._one_by_one

    def __call__(self, x: Tensor) -> Tensor:
        return self.down(self._hidden(x))

    def _one_by_one(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.activation(gate).mul_(up)

    def compile_up(self, step: Step, norm: CompiledNorm) -> None:
        """The way up as an instruction of a step."""
        step.multiply(self.gate_up, "x", "hidden", norm, COMPILED[self.activation], gated=True)

    def compile_down(self, step: Step) -> None:
        """The way down, added to what goes through the layers."""
        step.multiply(self.down, "hidden", "x", add=True)


class Block:
    """One layer: attention and an MLP, each after its norm and added to what came in.

    What comes out of them may have norms too, before it is added; a norm may be missing. `parallel`: both read what
    came in (Wang and Komatsuzaki 2021, GPT-J). Its heads turn by `rotary`: None for no rotation.
    """

    def __init__(
        self,
        first_norm: Norm | None,
        attention: Attention,
        second_norm: Norm | None,
        mlp: MLP | GatedMLP | Experts,
        *,
        after_attention: Norm | None = None,
        after_mlp: Norm | None = None,
        parallel: bool = False,
    ) -> None:
        self.first_norm, self.attention = first_norm, attention
        self.second_norm, self.mlp = second_norm, mlp
        self.after_attention, self.after_mlp = after_attention, after_mlp
        self.parallel = parallel

    def __call__(self, x: Tensor, rows: int, layer: int, cache: Keeps | None, angles: tuple[Tensor, Tensor] | None, sight: Sight) -> Tensor:
        """`x` (rows x T, width) -> the same shape."""
        mixed = self.attention(self.first_norm(x) if self.first_norm else x, rows, layer, cache, angles, sight)
        if self.after_attention:
            mixed = self.after_attention(mixed)
        # what a product or a norm gives is ours alone: added to in place
        if self.parallel:
            return self._second(x).add_(mixed).add_(x)
        x = mixed.add_(x)
        return self._second(x).add_(x)

    def _second(self, x: Tensor) -> Tensor:
        result = self.mlp(self.second_norm(x) if self.second_norm else x)
        return self.after_mlp(result) if self.after_mlp else result

    def compile(self, step: Step, rotary: bool) -> None:
        """The same as instructions of a step. Raises `Unfit` where there are none for it."""
        from gencli.compiled.program import Unfit

        if self.first_norm is None or self.second_norm is None or self.after_attention or self.after_mlp or isinstance(self.mlp, Experts):
            raise Unfit
        if self.parallel:  # both read x before either is added to it
            self.mlp.compile_up(step, self.second_norm.compiled())
        self.attention.compile(step, self.first_norm.compiled(), rotary)
        if not self.parallel:
            self.mlp.compile_up(step, self.second_norm.compiled())
        self.mlp.compile_down(step)
