"""Vectors of a processor's registers, as LLVM instructions: what tiles are made of. Knows no product and no thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils

LANES = 8  # numbers of 32 bits in a vector
F32, HALF, I8, I16, I32, I64 = ir.FloatType(), ir.HalfType(), ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
FLOATS, INTS = ir.VectorType(F32, LANES), ir.VectorType(I32, LANES)
SHORTS = ir.VectorType(I16, 2 * LANES)


def load(builder: Any, address: Any, vector: Any) -> Any:
    """The vector at an address, which need not be aligned."""
    value = builder.load(builder.inttoptr(address, vector.as_pointer()))
    value.align = 1
    return value


def function(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """LLVM's own function of this name."""
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


def multiply_add(builder: Any, one: Any, other: Any, total: Any) -> Any:
    """total + one x other, eight float32 at once."""
    return builder.call(function(builder, "llvm.fma.v8f32", FLOATS, [FLOATS] * 3), [one, other, total])


def fetch(builder: Any, address: Any, size: int) -> None:
    """Have `size` bytes brought closer, a cache line of 64 at a time."""
    byte = ir.IntType(8).as_pointer()
    prefetch = function(builder, "llvm.prefetch.p0", ir.VoidType(), [byte, I32, I32, I32])
    for at in range(0, size, 64):
        # to read, for the first cache, data
        builder.call(prefetch, [builder.inttoptr(builder.add(address, I64(at)), byte), I32(0), I32(3), I32(1)])


def _halves(builder: Any, vector: Any, add: Callable[[Any, Any], Any]) -> Any:
    """The first four of a vector's eight numbers, each with its counterpart in the second four."""
    return add(*(_chosen(builder, vector, vector, [start + at for at in range(4)]) for start in (0, 4)))


def _chosen(builder: Any, one: Any, other: Any, places: list[int]) -> Any:
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(I32, len(places)), places))


def four_sums(builder: Any, four: list[Any], add: Callable[[Any, Any], Any]) -> Any:
    """The sums of four vectors' numbers, by halves, side by side."""
    halves = [_halves(builder, vector, add) for vector in four]
    first, second = (
        add(_chosen(builder, one, other, [0, 1, 4, 5]), _chosen(builder, one, other, [2, 3, 6, 7]))
        for one, other in (halves[:2], halves[2:])
    )
    return add(_chosen(builder, first, second, [0, 2, 4, 6]), _chosen(builder, first, second, [1, 3, 5, 7]))


def sums_of(builder: Any, vectors: list[Any], add: Callable[[Any, Any], Any]) -> list[Any]:
    """The sum of each vector's numbers, by halves, four vectors at a time."""
    found: list[Any] = []
    for start in range(0, len(vectors), 4):
        four = vectors[start : start + 4]
        sums = four_sums(builder, four + four[:1] * (4 - len(four)), add)
        found += [builder.extract_element(sums, I32(at)) for at in range(len(four))]
    return found


def loop(builder: Any, steps: Any, starts: list[Any], body: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
    """`starts` passed through body(step, values) `steps` times (at least once): the last values."""
    before, inside, after = builder.block, builder.append_basic_block("inside"), builder.append_basic_block("after")
    builder.branch(inside)
    builder.position_at_end(inside)
    step = builder.phi(I64)
    step.add_incoming(I64(0), before)
    values = []
    for start in starts:
        value = builder.phi(start.type)
        value.add_incoming(start, before)
        values.append(value)
    results = body(step, values)
    following = builder.add(step, I64(1))
    step.add_incoming(following, builder.block)
    for value, result in zip(values, results, strict=True):
        value.add_incoming(result, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, steps), inside, after)
    builder.position_at_end(after)
    return results


def rows_at(builder: Any, first: Any, stride: Any, count: int) -> list[Any]:
    """The addresses of `count` rows, `stride` bytes apart."""
    addresses = [first]
    while len(addresses) < count:
        addresses.append(builder.add(addresses[-1], stride))
    return addresses
