"""Dot products of a few weight rows with a few activation rows, as LLVM instructions. Knows no model and no thread.

A tile keeps its sums in registers and walks the inputs once, eight (of whole numbers sixteen) at a
time. Every tile adds up in the same order, so a row's result is the same to the bit whatever rows
stand beside it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gencli.compiled.vectors import (
    F32,
    FLOATS,
    HALF,
    I8,
    I16,
    I64,
    INTS,
    LANES,
    SHORTS,
    fetch,
    function,
    load,
    loop,
    multiply_add,
    rows_at,
    sums_of,
)

WEIGHT_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}


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


def _pairs_add(builder: Any, one: Any, other: Any, total: Any) -> Any:
    """total + the sums of neighbouring products, sixteen 16-bit numbers at once."""
    product = builder.call(function(builder, "llvm.x86.avx2.pmadd.wd", INTS, [SHORTS] * 2), [one, other])
    return builder.add(total, product)


def widen(kind: str) -> Any:
    """widen(weights, results, steps): `steps` x eight weights as float32, from one address to another."""

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        weights, results, steps = arguments

        def body(step: Any, _: list[Any]) -> list[Any]:
            held = _weights(builder, builder.add(weights, builder.mul(step, I64(LANES * WEIGHT_BYTES[kind]))), kind)
            place = builder.inttoptr(builder.add(results, builder.mul(step, I64(4 * LANES))), FLOATS.as_pointer())
            builder.store(held, place).align = 4
            return []

        loop(builder, steps, [], body)
        return context.get_dummy_value()

    def typed(context: Any, weights: Any, results: Any, steps: Any) -> Any:
        return types.void(*[types.int64] * 3), generate

    return intrinsic(typed)


class Tile(NamedTuple):
    """What a tile is called with, a tuple of whole numbers: places are addresses, strides are in bytes.

    Result (row, output) becomes dot product x row factor x output factor + bias, and is added to what
    stands there if `add` is not 0. A step is eight inputs, of int8 sixteen, and fetches `pace` bytes from
    `ahead` on.
    """

    weights: Any
    weight_stride: Any
    x: Any
    x_stride: Any
    steps: Any
    results: Any
    result_stride: Any
    ahead: Any
    pace: Any
    row_factors: Any
    row_factor_stride: Any
    output_factors: Any
    output_factor_stride: Any
    biases: Any
    bias_stride: Any
    add: Any


def tile(kind: str, outputs: int, rows: int, fetched: int | None = None) -> Any:
    """tile(Tile): `outputs` x `rows` dot products. `x` is float32, for int8 16-bit; all else float32.

    `fetched` are the bytes that a step fetches at its pace; None: as many as it reads.
    """
    whole = kind == "int8"
    step_weights = LANES * (2 if whole else WEIGHT_BYTES[kind])
    step_x, x_type = 4 * LANES, SHORTS if whole else FLOATS
    zero = ir.Constant(INTS if whole else FLOATS, None)

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        given = Tile(*cgutils.unpack_tuple(builder, arguments[0]))
        weight_rows, x_rows = rows_at(builder, given.weights, given.weight_stride, outputs), rows_at(builder, given.x, given.x_stride, rows)
        multiply = _pairs_add if whole else multiply_add

        def body(step: Any, sums: list[Any]) -> list[Any]:
            at_x, at_weights = builder.mul(step, I64(step_x)), builder.mul(step, I64(step_weights))
            fetch(builder, builder.add(given.ahead, builder.mul(step, given.pace)), fetched or step_weights * outputs)
            # what is many waits in memory: there are registers for the sums, the few and one of the many
            added = list(sums)
            if outputs <= rows:
                held = [_weights(builder, builder.add(place, at_weights), kind) for place in weight_rows]
                for row, place in enumerate(x_rows):
                    activation = load(builder, builder.add(place, at_x), x_type)
                    for output in range(outputs):
                        added[output * rows + row] = multiply(builder, held[output], activation, sums[output * rows + row])
            else:
                activations = [load(builder, builder.add(place, at_x), x_type) for place in x_rows]
                for output, place in enumerate(weight_rows):
                    weight = _weights(builder, builder.add(place, at_weights), kind)
                    for row in range(rows):
                        added[output * rows + row] = multiply(builder, weight, activations[row], sums[output * rows + row])
            return added

        sums = loop(builder, given.steps, [zero] * (outputs * rows), body)
        _finish(builder, given, sums, outputs, rows, whole)
        return context.get_dummy_value()

    def typed(context: Any, given: Any) -> Any:
        return types.void(types.UniTuple(types.int64, len(Tile._fields))), generate

    return intrinsic(typed)


def _finish(builder: Any, given: Tile, sums: list[Any], outputs: int, rows: int, whole: bool) -> None:
    """Sums over lanes, scaled, with their bias, to their places."""

    def number(place: Any) -> Any:
        return builder.load(builder.inttoptr(place, F32.as_pointer()))

    row_factors = [number(place) for place in rows_at(builder, given.row_factors, given.row_factor_stride, rows)]
    output_factors = [number(place) for place in rows_at(builder, given.output_factors, given.output_factor_stride, outputs)]
    biases = [number(place) for place in rows_at(builder, given.biases, given.bias_stride, outputs)]
    places, values = [], []
    for row, place in enumerate(rows_at(builder, given.results, given.result_stride, rows)):
        mine = sums_of(builder, [sums[output * rows + row] for output in range(outputs)], builder.add if whole else builder.fadd)
        for output, value in enumerate(mine):
            value = builder.sitofp(value, F32) if whole else value
            value = builder.fmul(builder.fmul(value, row_factors[row]), output_factors[output])
            values.append(builder.fadd(value, biases[output]))
            places.append(builder.inttoptr(builder.add(place, I64(4 * output)), F32.as_pointer()))
    with builder.if_else(builder.icmp_signed("!=", given.add, I64(0))) as (adding, writing):
        with adding:
            for place, value in zip(places, values, strict=True):
                builder.store(builder.fadd(builder.load(place), value), place)
        with writing:
            for place, value in zip(places, values, strict=True):
                builder.store(value, place)
