"""What happens to numbers between products: norms, activations, rounding. Knows no thread and no instruction."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from gencli.compiled.slots import ACTIVATIONS, NORMS
from gencli.compiled.team import njit

NONE, GELU, GELU_TANH, SILU, RELU, TANH = range(len(ACTIVATIONS))
PLAIN, RMS, LAYER = range(len(NORMS))

LARGEST = np.float32(32767)  # of an activation in 16 bits
ROOM = np.float32((2.0**31 - 1) / 127)  # for the sum of a row's rounded activations, each times at most 127
SLACK = np.float32(1.001)  # what a float32 sum of them may be wrong by
LOG2_E, LN2_HIGH, LN2_LOW = np.float32(1.4426950408889634), np.float32(0.693359375), np.float32(-2.12194440e-4)
SIGNLESS = np.int32(0x7FFFFFFF)
ONE, HALF = np.float32(1), np.float32(0.5)


def _power_of(context: Any, exponent: Any) -> Any:
    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        bits = builder.shl(builder.add(arguments[0], ir.IntType(32)(127)), ir.IntType(32)(23))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(types.int32), generate


def _number_of(context: Any, bits: Any) -> Any:
    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


_number: Any = intrinsic(_number_of)  # the float32 of these bits
_power: Any = intrinsic(_power_of)  # 2 to a whole number from -126 to 127


@njit
def exp(x: Any) -> Any:
    """e to the x, within 2e-7 of it; a loop of these is vectorised, as one of the library's is not.

    The series of e^r for |r| <= ln(2) / 2, and a power of two.
    """
    x = min(max(x, np.float32(-87.3)), np.float32(88.3))
    n = np.floor(x * LOG2_E + HALF)
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    series = np.float32(1 / 720) + r * np.float32(1 / 5040)
    series = np.float32(1 / 120) + r * series
    series = np.float32(1 / 24) + r * series
    series = np.float32(1 / 6) + r * series
    series = HALF + r * series
    series = ONE + r * series
    series = ONE + r * series
    return series * _power(np.int32(n))


@njit
def _normal(x: Any) -> Any:
    """The share of a standard normal distribution below x, within 1e-7 (Abramowitz and Stegun 7.1.26)."""
    size = abs(x) * np.float32(math.sqrt(0.5))
    t = ONE / (ONE + np.float32(0.3275911) * size)
    series = np.float32(-1.453152027) + t * np.float32(1.061405429)
    series = np.float32(1.421413741) + t * series
    series = np.float32(-0.284496736) + t * series
    series = np.float32(0.254829592) + t * series
    tail = HALF * t * series * exp(-size * size)
    return tail if x < 0 else ONE - tail


@njit
def activate(row: Any, kind: int) -> None:
    """A row (n,) through an activation, in place."""
    count = len(row)
    if kind == GELU:
        for at in range(count):
            row[at] = row[at] * _normal(row[at])
    elif kind == GELU_TANH:
        for at in range(count):
            x = row[at]
            # x / 2 (1 + tanh u) = x / (1 + e^-2u)
            u = np.float32(2 * math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x * x * x)
            row[at] = x / (ONE + exp(-u))
    elif kind == SILU:
        for at in range(count):
            row[at] = row[at] / (ONE + exp(-row[at]))
    elif kind == RELU:
        for at in range(count):
            row[at] = max(row[at], np.float32(0))
    elif kind == TANH:
        for at in range(count):
            row[at] = np.float32(2) / (ONE + exp(np.float32(-2) * row[at])) - ONE


@njit(fastmath={"reassoc", "contract"})
def normalise(x: Any, result: Any, kind: int, weight: Any, bias: Any, eps: Any) -> None:
    """result (n,) = x (n,), its RMS norm or its layer norm; `weight` and `bias` (n,)."""
    count = len(x)
    if kind == PLAIN:
        for at in range(count):
            result[at] = x[at]
        return
    mean = np.float32(0)
    if kind == LAYER:
        for at in range(count):
            mean += x[at]
        mean /= np.float32(count)
    squares = np.float32(0)
    for at in range(count):
        squares += (x[at] - mean) * (x[at] - mean)
    scale = ONE / np.sqrt(squares / np.float32(count) + eps)
    if kind == RMS:
        for at in range(count):
            result[at] = x[at] * scale * weight[at]
    else:
        for at in range(count):
            result[at] = (x[at] - mean) * scale * weight[at] + bias[at]


@njit(fastmath={"reassoc", "contract"})
def rounded(x: Any, result: Any) -> Any:
    """result (n,) int16 = x (n,) in steps of the number returned.

    The steps are so large that no 32-bit sum of products with 8-bit numbers can overflow.
    """
    count = len(x)  # `result` may be longer
    # sizes are compared as whole numbers, which processors do side by side; what is not a number is the largest so
    bits, largest_bits, total = x.view(np.int32), np.int32(0), np.float32(0)
    for at in range(count):
        largest_bits = max(largest_bits, bits[at] & SIGNLESS)
        total += abs(x[at])
    largest = _number(largest_bits)
    room = ROOM - np.float32(count)  # rounding adds at most a half each
    step = max(largest / LARGEST, total * SLACK / room, np.float32(1e-30))
    inverse = ONE / step
    for at in range(count):
        result[at] = np.int16(np.int32(np.rint(x[at] * inverse)))
    return step + total * np.float32(0)  # what is not a number must not be lost in rounding
