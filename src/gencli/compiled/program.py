"""A decode step as instructions for a team of threads: built once, run without Python in between. Knows no model.

The team is libgomp's, the one that torch computes with: a second pool beside it would fight with its
spinning threads for the cores.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from gencli.compiled import slots as at
from gencli.compiled.slots import ACTIVATIONS, LEAST_OUTPUTS, NORMS, PART, TOGETHER

BLOCK_BYTES = 1 << 16  # of weights a ticket: some microseconds of work
EVEN = 24  # outputs that tiles of any width divide
ALIGNED = 4096  # bytes that threads' own memory is set apart by
WORTH_THREADS = 1 << 16  # multiplications
MANY_ROWS = 32

_NUMBERS = torch.tensor([1.0, 0.0])  # where factors and biases are that a product lacks
ONE_PLACE, NOUGHT_PLACE = _NUMBERS.data_ptr(), _NUMBERS.data_ptr() + 4

Ints = npt.NDArray[np.int64]

running = threading.Lock()  # one program at a time: they share the memory for what threads compute on the way, and are filled in before
_compiling = threading.Lock()


@cache
def team() -> Any:
    """libgomp's own way to run a function on every thread of its team; None where torch does not compute with it."""
    try:
        # only what torch has loaded already will do
        run = ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOW | os.RTLD_NOLOAD).GOMP_parallel
    except (OSError, AttributeError):
        return None
    run.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    run.restype = None
    return run


def code(kind: str) -> int:
    """The address of the interpreter for one kind of weights, compiled if it must be."""
    with _compiling:
        return int(_interpreter(kind).address)


@cache
def _interpreter(kind: str) -> Any:
    from gencli.compiled.interpreter import compiled

    return compiled(kind)


class Norm(NamedTuple):
    """What a product does to its inputs first: "rms" or "layer", with `weight` and `bias` (inputs,) in float32."""

    kind: str
    weight: Tensor | None = None
    bias: Tensor | None = None
    eps: float = 0.0


PLAIN = Norm("none")


@dataclass(frozen=True)
class Weights:
    """A weight (outputs, inputs) as programs read it: row by row, `padded` inputs wide; `scales`, `bias` (outputs,) float32."""

    kind: str
    tensor: Tensor
    outputs: int
    inputs: int
    padded: int
    scales: Tensor | None
    bias: Tensor | None


def weights(kind: str, tensor: Tensor, scales: Tensor | None = None, bias: Tensor | None = None) -> Weights:
    """`tensor` (outputs, inputs) of this kind's type; copied only where its rows do not lie side by side or are too few or too narrow."""
    outputs, inputs = tensor.shape
    step = 16 if kind == "int8" else 8
    padded = -(-inputs // step) * step
    if padded != inputs or outputs < LEAST_OUTPUTS:
        wider = tensor.new_zeros(max(outputs, LEAST_OUTPUTS), padded)
        wider[:outputs, :inputs] = tensor
        tensor = wider
    bias = bias.float().contiguous() if bias is not None else None
    if outputs < LEAST_OUTPUTS:
        scales, bias = (None if each is None else F.pad(each, (0, LEAST_OUTPUTS - outputs)) for each in (scales, bias))
    return Weights(kind, tensor.contiguous(), outputs, inputs, padded, scales, bias)


class Unfit(Exception):
    """A layer that no program can hold."""


class Instruction:
    """One instruction's slots, the memory it needs of each thread, and the tensors that must outlive it."""

    def __init__(self, op: int, number: float = 0.0, scratch: int = 0, held: Any = None, **slots: int) -> None:
        self.row = np.zeros(at.SLOTS, np.int64)
        self.row[at.OP] = op
        self.number, self.scratch, self.held = number, scratch, held
        for name, value in slots.items():
            self.row[getattr(at, name.upper())] = value


def multiply(held: Weights, norm: Norm = PLAIN, activation: str = "none", gated: bool = False, add: bool = False) -> Instruction:
    """x -> activation(norm(x) @ weights.T + bias): written, or with `add` added to the result.

    `gated`: the first half of the outputs is activated and multiplied with the second.
    """
    outputs = held.outputs // 2 if gated else held.outputs
    row_bytes = held.tensor.stride(0) * held.tensor.element_size()
    block = max(LEAST_OUTPUTS, min(outputs, max(1, round(BLOCK_BYTES / row_bytes / EVEN)) * EVEN))
    stride, room = 4 * (held.padded + at.LINE), 4 * (2 * block + at.LINE)
    wide = max(at.NEAR, at.AT_ONCE * stride) + at.AT_ONCE * stride if at.AT_ONCE * stride <= at.WIDEST else 0
    return Instruction(
        at.PRODUCT,
        number=norm.eps,
        scratch=4 * TOGETHER + stride * (TOGETHER + 1) + 2 * TOGETHER * room + wide,
        held=(held, norm),
        inputs=held.inputs,
        padded=held.padded,
        weights=held.tensor.data_ptr(),
        weight_stride=row_bytes,
        scales=_place(held.scales) or ONE_PLACE,
        scale_stride=0 if held.scales is None else 4,
        bias=_place(held.bias) or NOUGHT_PLACE,
        bias_stride=0 if held.bias is None else 4,
        outputs=outputs,
        norm=NORMS.index(norm.kind),
        norm_weight=_place(norm.weight),
        norm_bias=_place(norm.bias),
        activation=ACTIVATIONS.index(activation),
        gated=int(gated),
        add=int(add),
        block=block,
    )


def _place(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


class Table:
    """Instructions as the interpreter reads them, and the header that a run fills in."""

    def __init__(self, kind: str, instructions: Sequence[Instruction]) -> None:
        self.kind = kind
        self.slots: Ints = np.stack([each.row for each in instructions])
        self._held = [each.held for each in instructions]
        self._numbers = np.array([each.number for each in instructions], np.float32)
        self._counters = np.zeros((len(instructions), 2 * at.COUNTER), np.int64)
        self._scratch = -(-max(each.scratch for each in instructions) // ALIGNED) * ALIGNED
        self._header = np.zeros(at.HEADER, np.int64)
        self._header[[at.TABLE, at.NUMBERS, at.COUNT, at.COUNTERS, at.SCRATCH_BYTES]] = (
            self.slots.ctypes.data,
            self._numbers.ctypes.data,
            len(instructions),
            self._counters.ctypes.data,
            self._scratch,
        )

    def run(self, rows: int, lengths: Ints | None = None, parts: int = 0, cos: int = 0, sin: int = 0, threads: int | None = None) -> None:
        """Carry the instructions out for `rows` rows, while `running` is held.

        `lengths` are the positions that each row's cache holds, `parts` how many an attention takes of the longest.
        """
        threads = threads or torch.get_num_threads()
        scratch = _scratch(threads * self._scratch)
        self._counters.fill(0)
        self._header[[at.THREAD, at.THREADS, at.ROWS, at.PARTS, at.COS, at.SIN, at.SCRATCH]] = (
            0,
            threads,
            rows,
            parts,
            cos,
            sin,
            scratch.data_ptr(),
        )
        self._header[at.LENGTHS] = 0 if lengths is None else lengths.ctypes.data
        team()(code(self.kind), self._header.ctypes.data, threads, 0)


_held_scratch = torch.empty(0, dtype=torch.uint8)


def _scratch(size: int) -> Tensor:
    """Memory that every run may write to, of `size` bytes at least."""
    global _held_scratch
    if len(_held_scratch) < size:
        _held_scratch = torch.empty(size, dtype=torch.uint8)
    return _held_scratch


class Product:
    """x (N, inputs) float32 -> (N, outputs) float32: one instruction by itself, or `many` where that is faster at many rows.

    The outputs are activated; of a `gated` product the first half is, and multiplied with the second.
    """

    def __init__(
        self, held: Weights, many: Callable[[Tensor], Tensor] | None = None, activation: str = "none", gated: bool = False
    ) -> None:
        self.held, self._many = held, many
        self._outputs = held.outputs // 2 if gated else held.outputs
        self._table = Table(held.kind, [multiply(held, activation=activation, gated=gated)])

    def activated(self, activation: str, gated: bool) -> Product | None:
        """The same weights with an activation; None where many rows go another way."""
        return Product(self.held, None, activation, gated) if self._many is None else None

    def __call__(self, x: Tensor) -> Tensor:
        if self._many is not None and len(x) > MANY_ROWS:
            return self._many(x)
        x = x.contiguous()
        result = x.new_empty(len(x), self._outputs)
        few = x.numel() * self.held.outputs < WORTH_THREADS
        with running:
            slots = self._table.slots[0]
            slots[[at.X, at.X_STRIDE, at.RESULT, at.RESULT_STRIDE]] = x.data_ptr(), x.shape[1], result.data_ptr(), self._outputs
            self._table.run(len(x), threads=1 if few else None)
        return result


def attend(heads: int, kv_heads: int, head_dim: int, scale: float, rotary: bool) -> list[Instruction]:
    """Attention of each row's new position, whose keys and values it writes to the cache: in parts, and their merging."""
    scratch = 4 * heads // kv_heads * (2 * head_dim + PART + 2)
    sizes = {"heads": heads, "kv_heads": kv_heads, "head_dim": head_dim, "rotary": int(rotary)}
    return [Instruction(op, number=scale, scratch=scratch, **sizes) for op in (at.ATTEND, at.MERGE)]
