"""Weights times activations, tile by tile, for one kind of weights each. Knows no thread and no bias."""

from __future__ import annotations

from typing import Any

from gencli.compiled.team import line, njit
from gencli.compiled.tiles import WEIGHT_BYTES, tile

AT_ONCE = 12  # outputs that tiles for several rows divide
NEAR = 1 << 14  # bytes of weights that every group of rows goes over while they lie in the first cache


@njit
def _add_late(results: int, spare: int, room: int, rows: int, first: int, outputs: int, start: int) -> None:
    """To the results of `rows` rows from output `first` on is added what stands in `spare` from output `start` on."""
    for row in range(rows):
        total, late = line(results + row * room, outputs), line(spare + row * room, outputs - start)
        for output in range(first, outputs):
            total[output] += late[output - start]


@njit
def _finish(finish: Any, row: int, output: int, written: bool) -> Any:
    """The last seven fields of a `Tile` from those of the first row and output; what is to be `written` alone is not added."""
    row_factors, rows_by, factors, factors_by, biases, biases_by, add = finish
    return (
        row_factors + row * rows_by,
        rows_by,
        factors + output * factors_by,
        factors_by,
        biases + output * biases_by,
        biases_by,
        0 if written else add,
    )


@njit
def _group(group: int, groups: int, rows: int, tall: int) -> Any:
    """The first row and the number of rows of a group.

    A single row is never left over: its tiles are wider than those that near weights are cut for.
    """
    if rows % tall == 1 and rows > 1 and group >= groups - 2:
        return (rows - tall - 1, tall - 1) if group == groups - 2 else (rows - 2, 2)
    return group * tall, min(tall, rows - group * tall)


def _dots_of(kind: str) -> Any:
    # as many sums as registers hold; products of whole numbers need some on the way
    tall = 3 if kind == "int8" else 4
    one, two, three, most = tile(kind, 8, 1), tile(kind, 4, 2), tile(kind, 3, 3), tile(kind, 3, tall)
    step = 16 if kind == "int8" else 8

    @njit(kind=kind)
    def carry_out(given: Any, rows: int) -> None:
        if rows == 1:
            one(given)
        elif rows == 2:
            two(given)
        elif rows == 3:
            three(given)
        else:
            most(given)

    def dots(
        weights: int, stride: int, outputs: int, x: int, x_stride: int, rows: int, inputs: int, target: Any, finish: Any, beyond: int
    ) -> None:
        """Results (rows, outputs) = x (rows, inputs) times weights (outputs, inputs), finished as a tile finishes them.

        Strides in bytes; at least eight outputs; inputs a multiple of 8, of int8 of 16. `target` are the place of
        the results, their stride, and a place for as many more; `finish` the last seven fields of a `Tile`. While
        groups of rows go over near weights, those that follow are fetched at the pace that has them there in
        time; after the last ones, those at `beyond`.
        """
        results, room, spare = target
        steps, groups = inputs // step, (rows + tall - 1) // tall
        near = max(1, NEAR // stride // AT_ONCE) * AT_ONCE if groups > 1 else outputs
        pace = near * stride // (groups * (near // 3) * steps) + 1
        for start in range(0, outputs, near):
            end = min(start + near, outputs)
            ahead = weights + end * stride if end < outputs else beyond
            for group in range(groups):
                row, count = _group(group, groups, rows, tall)
                here, there = x + row * x_stride, results + row * room
                width = 8 if count == 1 else 4 if count == 2 else 3
                for output in range(start, end, width):
                    at = min(output, outputs - width)  # the last tile may compute some a second time
                    twice = at < output and finish[-1] != 0  # but must not add some a second time
                    place, result = weights + at * stride, spare if twice else there + 4 * at
                    fetched = (ahead, pace) if groups > 1 else (place + width * stride, width * stride // steps)
                    given = (place, stride, here, x_stride, steps, result, room) + fetched + _finish(finish, row, at, twice)  # noqa: RUF005
                    carry_out(given, count)
                    if twice:
                        _add_late(there, spare, room, count, output, outputs, at)
                    ahead += steps * pace

    return njit(dots, kind=kind)


dots_float32, dots_float16, dots_bfloat16, dots_int8 = (_dots_of(kind) for kind in WEIGHT_BYTES)
