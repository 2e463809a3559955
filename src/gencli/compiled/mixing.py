"""What attention is made of, as LLVM instructions: scores of keys, and mixtures of values. Knows no thread."""

from __future__ import annotations

from itertools import product
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from gencli.compiled.vectors import F32, FLOATS, I32, I64, INTS, LANES, fetch, four_sums, load, loop, multiply_add, rows_at


def score(queries: int, fetched: int) -> Any:
    """score(keys, stride, queries, stride, steps, results, stride, ahead, pace): dot products of four keys with some queries, in float32.

    A step is eight numbers, and fetches `pace` bytes from `ahead` on, `fetched` at most. Result (query, key) stands at
    results + query x stride + key x 4.
    """
    keys = 4

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        first, key_stride, query, query_stride, steps, results, result_stride, ahead, pace = arguments
        key_rows, query_rows = rows_at(builder, first, key_stride, keys), rows_at(builder, query, query_stride, queries)

        def body(step: Any, sums: list[Any]) -> list[Any]:
            at = builder.mul(step, I64(4 * LANES))
            fetch(builder, builder.add(ahead, builder.mul(step, pace)), fetched)
            asked = [load(builder, builder.add(row, at), FLOATS) for row in query_rows]
            held = [load(builder, builder.add(row, at), FLOATS) for row in key_rows]
            return [multiply_add(builder, key, each, sums[number]) for number, (each, key) in enumerate(product(asked, held))]

        sums = loop(builder, steps, [ir.Constant(FLOATS, None)] * (queries * keys), body)
        for number, place in enumerate(rows_at(builder, results, result_stride, queries)):
            four = four_sums(builder, sums[keys * number : keys * number + keys], builder.fadd)
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


def mix(rows: int, vectors: int, fetched: int = 64) -> Any:
    """mix(values, stride, shares, stride, count, results, stride, ahead, pace): weighted sums of rows of float32, as addresses and bytes.

    To row r of the results is added the sum over n < `count` of share (r, n) x the n-th row of values, `vectors` x 8
    numbers wide. Each n fetches `pace` bytes from `ahead` on, `fetched` at most.
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
            fetch(builder, builder.add(ahead, builder.mul(step, pace)), fetched)
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
