"""Dot products of a few weight rows with a few activation rows, as LLVM instructions. Knows no model and no thread.

A tile keeps its sums in registers and walks the inputs once, eight (of whole numbers sixteen) at a
time. Every tile adds up in the same order, so a row's result is the same to the bit whatever rows
stand beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 8  # numbers of 32 bits in a vector
F32, HALF, I8, I16, I32, I64 = ir.FloatType(), ir.HalfType(), ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
FLOATS, INTS = ir.VectorType(F32, LANES), ir.VectorType(I32, LANES)
SHORTS = ir.VectorType(I16, 2 * LANES)

WEIGHT_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}


def load(builder: Any, address: Any, vector: Any) -> Any:
    """The vector at an address, which need not be aligned."""
    value = builder.load(builder.inttoptr(address, vector.as_pointer()))
    value.align = 1
    return value


def _weights(builder: Any, address: Any, kind: str) -> Any:
    """Eight weights as float32; of `int8` sixteen, as 16-bit numbers."""
    if kind == "float32":
        return load(builder, address, FLOATS)
    if kind == "float16":
        return builder.fpext(load(builder, address, ir.VectorType(HALF, LANES)), FLOATS)
    if kind == "bfloat16":
        bits = builder.zext(load(builder, address, ir.VectorType(I16, LANES)), INTS)
        return builder.bitcast(builder.shl(bits, ir.Constant(INTS, [16] * LANES)), FLOATS)
    return builder.sext(load(builder, address, ir.VectorType(I8, 2 * LANES)), SHORTS)


def _function(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


def multiply_add(builder: Any, one: Any, other: Any, total: Any) -> Any:
    """total + one x other, eight float32 at once."""
    return builder.call(_function(builder, "llvm.fma.v8f32", FLOATS, [FLOATS] * 3), [one, other, total])


def _pairs_add(builder: Any, one: Any, other: Any, total: Any) -> Any:
    """total + the sums of neighbouring products, sixteen 16-bit numbers at once."""
    product = builder.call(_function(builder, "llvm.x86.avx2.pmadd.wd", INTS, [SHORTS] * 2), [one, other])
    return builder.add(total, product)


def _fetch(builder: Any, address: Any, size: int) -> None:
    """Have `size` bytes brought closer, a cache line of 64 at a time."""
    byte = ir.IntType(8).as_pointer()
    prefetch = _function(builder, "llvm.prefetch.p0", ir.VoidType(), [byte, I32, I32, I32])
    for at in range(0, size, 64):
        # to read, for the second cache, data
        builder.call(prefetch, [builder.inttoptr(builder.add(address, I64(at)), byte), I32(0), I32(2), I32(1)])


def _sum(builder: Any, vector: Any, add: Callable[[Any, Any], Any]) -> Any:
    """The sum of a vector's numbers, by halves."""
    count = vector.type.count
    while count > 1:
        count //= 2
        halves = [ir.Constant(ir.VectorType(I32, count), list(range(start, start + count))) for start in (0, count)]
        vector = add(*(builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), half) for half in halves))
    return builder.extract_element(vector, ir.Constant(I32, 0))


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


def tile(kind: str, outputs: int, rows: int) -> Any:
    """tile(weights, stride, x, stride, steps, results, stride): `outputs` x `rows` dot products, all places as addresses, strides in bytes.

    A step is eight inputs, of int8 sixteen. `x` is float32, for int8 16-bit. Result (row, output) stands at
    results + row x stride + output x 4, as float32.
    """
    whole = kind == "int8"
    step_weights = LANES * (2 if whole else WEIGHT_BYTES[kind])
    step_x, x_type = 4 * LANES, SHORTS if whole else FLOATS
    zero = ir.Constant(INTS if whole else FLOATS, None)

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        weights, weight_stride, x, x_stride, steps, results, result_stride = arguments
        weight_rows, x_rows = rows_at(builder, weights, weight_stride, outputs), rows_at(builder, x, x_stride, rows)
        multiply = _pairs_add if whole else multiply_add
        # rows are short and many: the processor's own prefetching has hardly begun where one ends
        following = builder.add(weight_rows[-1], weight_stride)

        def body(step: Any, sums: list[Any]) -> list[Any]:
            at_x, at_weights = builder.mul(step, I64(step_x)), builder.mul(step, I64(step_weights))
            _fetch(builder, builder.add(following, builder.mul(step, I64(step_weights * outputs))), step_weights * outputs)
            activations = [load(builder, builder.add(row, at_x), x_type) for row in x_rows]
            added = []
            for output, place in enumerate(weight_rows):
                held = _weights(builder, builder.add(place, at_weights), kind)
                mine = sums[output * rows : (output + 1) * rows]
                added += [multiply(builder, held, each, total) for each, total in zip(activations, mine, strict=True)]
            return added

        sums = loop(builder, steps, [zero] * (outputs * rows), body)
        add = builder.add if whole else builder.fadd
        for row, place in enumerate(rows_at(builder, results, result_stride, rows)):
            for output in range(outputs):
                value = _sum(builder, sums[output * rows + row], add)
                value = builder.sitofp(value, F32) if whole else value
                builder.store(value, builder.inttoptr(builder.add(place, I64(4 * output)), F32.as_pointer()))
        return context.get_dummy_value()

    def typed(context: Any, weights: Any, weight_stride: Any, x: Any, x_stride: Any, steps: Any, results: Any, result_stride: Any) -> Any:
        return types.void(*[types.int64] * 7), generate

    return intrinsic(typed)


def mix(rows: int, vectors: int) -> Any:
    """mix(values, stride, shares, stride, count, results, stride): weighted sums of `count` rows of float32, as addresses and bytes.

    Row r of the results is the sum over n of share (r, n) x the n-th row of values, `vectors` x 8 numbers wide.
    """

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        values, value_stride, shares, share_stride, count, results, result_stride = arguments
        share_rows = rows_at(builder, shares, share_stride, rows)

        def body(step: Any, sums: list[Any]) -> list[Any]:
            place = builder.add(values, builder.mul(step, value_stride))
            held = [load(builder, builder.add(place, I64(4 * LANES * at)), FLOATS) for at in range(vectors)]
            added = []
            for row, shares_of in enumerate(share_rows):
                share = builder.load(builder.inttoptr(builder.add(shares_of, builder.mul(step, I64(4))), F32.as_pointer()))
                spread = builder.shuffle_vector(
                    builder.insert_element(ir.Constant(FLOATS, ir.Undefined), share, I32(0)),
                    ir.Constant(FLOATS, ir.Undefined),
                    ir.Constant(INTS, [0] * LANES),
                )
                mine = sums[row * vectors : (row + 1) * vectors]
                added += [multiply_add(builder, one, spread, total) for one, total in zip(held, mine, strict=True)]
            return added

        sums = loop(builder, count, [ir.Constant(FLOATS, None)] * (rows * vectors), body)
        for row, place in enumerate(rows_at(builder, results, result_stride, rows)):
            for at in range(vectors):
                pointer = builder.inttoptr(builder.add(place, I64(4 * LANES * at)), FLOATS.as_pointer())
                builder.store(sums[row * vectors + at], pointer).align = 1
        return context.get_dummy_value()

    def typed(
        context: Any, values: Any, value_stride: Any, shares: Any, share_stride: Any, count: Any, results: Any, result_stride: Any
    ) -> Any:
        return types.void(*[types.int64] * 7), generate

    return intrinsic(typed)
