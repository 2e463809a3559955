"""The extra `fast`: products compiled by Numba, on torch's own threads. Knows no model and no tensor.

The team of threads is libgomp's, the one that torch computes with: a second pool beside it would
fight with its spinning threads for the cores. The work is shared by tickets, so a thread that other
programs keep waiting does not keep the others waiting for a fixed share.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import carray

ROWS = 32  # of weights a ticket: they stay in the first cache while every row of activations passes
LARGEST = 32767.0  # of an activation in 16 bits
ROOM = (2.0**31 - 1) / 127  # for the sum of a row's rounded activations, each times at most 127
SLACK = 1.001  # what a float32 sum of them may be wrong by
PARAMETERS = 9  # addresses of x, weights, scales, bias (0: none), results; rows of x; outputs; inputs; tickets taken


def _pointer_of(context: Any, address: Any) -> Any:
    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


def _ticket_of(context: Any, address: Any) -> Any:
    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        counter = builder.inttoptr(arguments[0], cgutils.intp_t.as_pointer())
        return builder.atomic_rmw("add", counter, cgutils.intp_t(1), "monotonic")

    return types.int64(types.int64), generate


def _widened_of(context: Any, number: Any) -> Any:
    def generate(target: Any, builder: Any, __: Any, arguments: Any) -> Any:
        bits = builder.shl(builder.zext(arguments[0], cgutils.int32_t), cgutils.int32_t(16))
        return builder.bitcast(bits, target.get_value_type(types.float32))

    return types.float32(types.uint16), generate


_pointer: Any = intrinsic(_pointer_of)  # an address as a pointer that `carray` takes
_ticket: Any = intrinsic(_ticket_of)  # the number at an address, and one more for who comes next
_widened: Any = intrinsic(_widened_of)  # the bits of a bfloat16 as a float32


def _bfloat16(parameters: Any) -> None:
    """What every thread of a team does: weights by the ticket until none are left."""
    given = carray(parameters, PARAMETERS)
    rows, outputs, inputs = given[5], given[6], given[7]
    x = carray(_pointer(given[0]), (rows, inputs), np.float32)
    weights = carray(_pointer(given[1]), (outputs, inputs), np.uint16)
    bias = carray(_pointer(given[3]), outputs, np.float32)
    results = carray(_pointer(given[4]), (rows, outputs), np.float32)
    counter = given.ctypes.data + 8 * (PARAMETERS - 1)
    while True:
        start = _ticket(counter) * ROWS
        if start >= outputs:
            return
        for row in range(rows):
            activations = x[row]
            for output in range(start, min(start + ROWS, outputs)):
                weight = weights[output]
                result = np.float32(0)
                for column in range(inputs):
                    result += activations[column] * _widened(weight[column])
                if given[3] != 0:
                    result += bias[output]
                results[row, output] = result


def _int8(parameters: Any) -> None:
    """What every thread of a team does: round the activations, then weights by the ticket until none are left.

    A row of activations is rounded to 16 bits with a scale of its own, so small that no 32-bit sum can
    overflow: whole numbers are multiplied twice as fast as floats here, and their sums are exact, so
    neither threads nor batches change a result.
    """
    given = carray(parameters, PARAMETERS)
    rows, outputs, inputs = given[5], given[6], given[7]
    x = carray(_pointer(given[0]), (rows, inputs), np.float32)
    weights = carray(_pointer(given[1]), (outputs, inputs), np.int8)
    scales = carray(_pointer(given[2]), outputs, np.float32)
    bias = carray(_pointer(given[3]), outputs, np.float32)
    results = carray(_pointer(given[4]), (rows, outputs), np.float32)
    counter = given.ctypes.data + 8 * (PARAMETERS - 1)
    rounded = np.empty((rows, inputs), np.int16)
    steps = np.empty(rows, np.float32)
    room = np.float32(ROOM - inputs)  # rounding adds at most a half each
    for row in range(rows):
        largest, total = np.float32(0), np.float32(0)
        for column in range(inputs):
            size = abs(x[row, column])
            largest = max(largest, size)
            total += size
        step = max(largest / np.float32(LARGEST), total * np.float32(SLACK) / room, np.float32(1e-30))
        inverse = np.float32(1) / step
        for column in range(inputs):
            rounded[row, column] = np.int16(np.rint(x[row, column] * inverse))
        # what is not a number must not be lost in rounding
        steps[row] = step + total * np.float32(0)
    while True:
        start = _ticket(counter) * ROWS
        if start >= outputs:
            return
        for row in range(rows):
            activations = rounded[row]
            for output in range(start, min(start + ROWS, outputs)):
                weight = weights[output]
                product = np.int32(0)
                for column in range(inputs):
                    product = np.int32(product + np.int32(activations[column]) * np.int32(weight[column]))
                result = np.float32(product) * steps[row] * scales[output]
                if given[3] != 0:
                    result += bias[output]
                results[row, output] = result


class Product:
    """A compiled product; its code lives as long as this does."""

    def __init__(self, team: Any, work: Any) -> None:
        self._team, self._work = team, work
        self._address = work.address

    def __call__(self, parameters: npt.NDArray[np.int64], threads: int) -> None:
        """Fill the results, by as many threads; the last of the `PARAMETERS` must be 0."""
        self._team(self._address, parameters.ctypes.data, threads, 0)


WORKS = {"bfloat16": _bfloat16, "int8": _int8}


def product(weights: str) -> Product | None:
    """The product for such `weights`, from Numba's cache where it has one; None where torch does not compute with libgomp."""
    try:
        # only what torch has loaded already will do
        team = ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOW | os.RTLD_NOLOAD).GOMP_parallel
    except (OSError, AttributeError):
        return None
    team.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    team.restype = None
    return Product(team, _compiled(WORKS[weights]))


def _compiled(work: Callable[[Any], None]) -> Any:
    pointer: Any = types.CPointer
    signature = types.void(pointer(types.int64))
    fast = {"reassoc", "contract", "arcp", "nsz"}  # not "nnan": damage must show
    try:
        return numba.cfunc(signature, fastmath=fast, cache=True)(work)
    except (RuntimeError, OSError):  # there is no folder that Numba may write to
        return numba.cfunc(signature, fastmath=fast)(work)
