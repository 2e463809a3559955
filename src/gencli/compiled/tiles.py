"""Dot products of a few weight rows with a few activation rows, as LLVM instructions. Knows no model and no thread.

A tile keeps its sums in registers and walks the inputs once, eight (of whole numbers sixteen) at a
time. Every tile adds up in the same order, so a row's result is the same to the bit whatever rows
stand beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

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
        # to read, for the first cache, data
        builder.call(prefetch, [builder.inttoptr(builder.add(address, I64(at)), byte), I32(0), I32(3), I32(1)])


def _halves(builder: Any, vector: Any, add: Callable[[Any, Any], Any]) -> Any:
    """The first four of a vector's eight numbers, each with its counterpart in the second four."""
    return add(*(_chosen(builder, vector, vector, [start + at for at in range(4)]) for start in (0, 4)))


def _chosen(builder: Any, one: Any, other: Any, places: list[int]) -> Any:
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(I32, len(places)), places))


def _four_sums(builder: Any, four: list[Any], add: Callable[[Any, Any], Any]) -> Any:
    """The sums of four vectors' numbers, by halves, side by side."""
    halves = [_halves(builder, vector, add) for vector in four]
    first, second = (
        add(_chosen(builder, one, other, [0, 1, 4, 5]), _chosen(builder, one, other, [2, 3, 6, 7]))
        for one, other in (halves[:2], halves[2:])
    )
    return add(_chosen(builder, first, second, [0, 2, 4, 6]), _chosen(builder, first, second, [1, 3, 5, 7]))


def _sums(builder: Any, vectors: list[Any], add: Callable[[Any, Any], Any]) -> list[Any]:
    """The sum of each vector's numbers, by halves, four vectors at a time."""
    found: list[Any] = []
    for start in range(0, len(vectors), 4):
        four = vectors[start : start + 4]
        sums = _four_sums(builder, four + four[:1] * (4 - len(four)), add)
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


def tile(kind: str, outputs: int, rows: int) -> Any:
    """tile(Tile): `outputs` x `rows` dot products. `x` is float32, for int8 16-bit; all else float32."""
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
            _fetch(builder, builder.add(given.ahead, builder.mul(step, given.pace)), step_weights * outputs)
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
        mine = _sums(builder, [sums[output * rows + row] for output in range(outputs)], builder.add if whole else builder.fadd)
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


def score(queries: int) -> Any:
    """score(keys, stride, queries, stride, steps, results, stride, ahead, pace): dot products of four keys with some queries, in float32.

    A step is eight numbers, and fetches `pace` bytes from `ahead` on, 64 at most. Result (query, key) stands at
    results + query x stride + key x 4.
    """
    keys = 4

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        first, key_stride, query, query_stride, steps, results, result_stride, ahead, pace = arguments
        key_rows, query_rows = rows_at(builder, first, key_stride, keys), rows_at(builder, query, query_stride, queries)

        def body(step: Any, sums: list[Any]) -> list[Any]:
            at = builder.mul(step, I64(4 * LANES))
            _fetch(builder, builder.add(ahead, builder.mul(step, pace)), 64)
            asked = [load(builder, builder.add(row, at), FLOATS) for row in query_rows]
            held = [load(builder, builder.add(row, at), FLOATS) for row in key_rows]
            return [multiply_add(builder, key, each, sums[number]) for number, (each, key) in enumerate(product(asked, held))]

        sums = loop(builder, steps, [ir.Constant(FLOATS, None)] * (queries * keys), body)
        for number, place in enumerate(rows_at(builder, results, result_stride, queries)):
            four = _four_sums(builder, sums[keys * number : keys * number + keys], builder.fadd)
            builder.store(four, builder.inttoptr(place, four.type.as_pointer())).align = 4
        return context.get_dummy_value()

    def typed(
        context: Any,
        first: Any,
        keys_by: Any,
        query: Any,
        queries_by: Any,
        steps: Any,
        results: Any,
        results_by: Any,
        ahead: Any,
        pace: Any,
    ) -> Any:
        return types.void(*[types.int64] * 9), generate

    return intrinsic(typed)


def mix(rows: int, vectors: int) -> Any:
    """mix(values, stride, shares, stride, count, results, stride, ahead, pace): weighted sums of rows of float32, as addresses and bytes.

    To row r of the results is added the sum over n < `count` of share (r, n) x the n-th row of values, `vectors` x 8
    numbers wide. Each n fetches `pace` bytes from `ahead` on, 64 at most.
    """

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        values, value_stride, shares, share_stride, count, results, result_stride, ahead, pace = arguments
        share_rows = rows_at(builder, shares, share_stride, rows)
        places = [
            builder.inttoptr(builder.add(place, I64(4 * LANES * at)), FLOATS.as_pointer())
            for place in rows_at(builder, results, result_stride, rows)
            for at in range(vectors)
        ]
        starts = [builder.load(place) for place in places]
        for start in starts:
            start.align = 4

        def body(step: Any, sums: list[Any]) -> list[Any]:
            place = builder.add(values, builder.mul(step, value_stride))
            _fetch(builder, builder.add(ahead, builder.mul(step, pace)), 64)
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

        for place, total in zip(places, loop(builder, count, starts, body), strict=True):
            builder.store(total, place).align = 4
        return context.get_dummy_value()

    def typed(
        context: Any,
        values: Any,
        values_by: Any,
        shares: Any,
        shares_by: Any,
        count: Any,
        results: Any,
        results_by: Any,
        ahead: Any,
        pace: Any,
    ) -> Any:
        return types.void(*[types.int64] * 9), generate

    return intrinsic(typed)
