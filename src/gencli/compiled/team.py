"""What a team of threads needs to share work without going back to Python. Knows no work.

Work is handed out by tickets, and a phase is over when its tickets are done, not when every thread has
come: a thread that other programs keep waiting holds up nobody unless it holds a ticket.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import carray

I64 = ir.IntType(64)
SPINS = 2000  # looks at a counter before the processor is offered to others


_njit: Any = numba.njit  # its own types know too little of its options


def njit(function: Any = None, kind: str = "", **options: Any) -> Any:
    """`numba.njit` for what only compiled code calls: it need not be callable from Python, which halves the compiling.

    A function that is made anew for each kind of weights must say its `kind`: Numba's symbols are the name and a count of the
    process that compiled it, so that of two kinds from the cache the second would call the first one's.
    """
    if function is None:
        return partial(njit, kind=kind, **options)
    if kind:
        function.__qualname__ += f"_{kind}"
    # whole numbers are never divided by zero here: nothing raises
    compiling = _njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy", **options)
    return compiling(function)


def _pointer_of(context: Any, address: Any) -> Any:
    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


def _taken_of(context: Any, address: Any, count: Any) -> Any:
    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", builder.inttoptr(arguments[0], I64.as_pointer()), arguments[1], "acq_rel")

    return types.int64(types.int64, types.int64), generate


def _seen_of(context: Any, address: Any) -> Any:
    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.load_atomic(builder.inttoptr(arguments[0], I64.as_pointer()), "acquire", 8)

    return types.int64(types.int64), generate


def _pause_of(context: Any) -> Any:
    def generate(_: Any, builder: Any, __: Any, ___: Any) -> Any:
        builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"), [])
        return _.get_dummy_value()

    return types.void(), generate


def _give_way_of(context: Any) -> Any:
    def generate(_: Any, builder: Any, __: Any, ___: Any) -> Any:
        builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.IntType(32), []), "sched_yield"), [])
        return _.get_dummy_value()

    return types.void(), generate


_pointer: Any = intrinsic(_pointer_of)  # an address as a pointer that `carray` takes
taken: Any = intrinsic(_taken_of)  # the number at an address, which becomes `count` larger for who comes next
_seen: Any = intrinsic(_seen_of)  # the number at an address, and all that was written before it
_pause: Any = intrinsic(_pause_of)
_give_way: Any = intrinsic(_give_way_of)


@njit
def floats(address: int, rows: int, columns: int) -> Any:
    """(rows, columns) float32 at an address."""
    return carray(_pointer(address), (rows, columns), np.float32)


@njit
def line(address: int, count: int) -> Any:
    """(count,) float32 at an address."""
    return carray(_pointer(address), (count,), np.float32)


@njit
def numbers(address: int, count: int) -> Any:
    """(count,) int64 at an address."""
    return carray(_pointer(address), (count,), np.int64)


@njit
def shorts(address: int, count: int) -> Any:
    """(count,) int16 at an address."""
    return carray(_pointer(address), (count,), np.int16)


@njit
def copy(source: int, target: int, count: int, scale: Any) -> None:
    """`count` float32 from an address to another, times `scale`."""
    given, taken_in = line(source, count), line(target, count)
    for at in range(count):
        taken_in[at] = given[at] * scale


@njit
def wait(address: int, count: int) -> None:
    """Until the number at an address is `count`."""
    spins = 0
    while _seen(address) < count:
        spins += 1
        if spins < SPINS:
            _pause()
        else:
            _give_way()
