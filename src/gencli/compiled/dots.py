"""Weights times activations, tile by tile, for one kind of weights each. Knows no thread and no bias."""

from __future__ import annotations

from typing import Any

from gencli.compiled.slots import AT_ONCE, LINE, NEAR, WIDEST
from gencli.compiled.team import line, njit
from gencli.compiled.tiles import WEIGHT_BYTES, tile, widen

FETCHED = 64  # bytes that a step over widened weights fetches: far more than its pace


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
def _group(group: int, groups: int, rows: int) -> Any:
    """The first row and the number of rows of a group: as even as can be, so that a single row is never left over."""
    each, more = rows // groups, rows % groups
    return group * each + min(group, more), each + (1 if group < more else 0)


def _carried_out(kind: str, tall: int) -> Any:
    one, two, three, most = tile(kind, 8, 1), tile(kind, 4, 2), tile(kind, 3, 3), tile(kind, 3, tall)

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

    return carry_out


def _widened(kind: str) -> tuple[Any, Any]:
    """For weights of 16 bits: rows of them as float32, and tiles for three or four rows over what they became."""
    eight, three, four = widen(kind), tile("float32", 3, 3, FETCHED), tile("float32", 3, 4, FETCHED)

    @njit(kind=kind)
    def spread(weights: int, stride: int, outputs: int, results: int, room: int, steps: int) -> None:
        for output in range(outputs):
            eight(weights + output * stride, results + output * room, steps)

    @njit(kind=kind)
    def carry_out_wide(given: Any, rows: int) -> None:
        if rows == 3:
            three(given)
        else:
            four(given)

    return spread, carry_out_wide


@njit
def _no_spread(weights: int, stride: int, outputs: int, results: int, room: int, steps: int) -> None:
    """Stands where weights are never widened."""


def _dots_of(kind: str) -> Any:
    # as many sums as registers hold; products of whole numbers need some on the way
    tall = 3 if kind == "int8" else 4
    step = 16 if kind == "int8" else 8
    small = WEIGHT_BYTES[kind] == 2
    carry_out = _carried_out(kind, tall)
    spread, carry_out_wide = _widened(kind) if small else (_no_spread, carry_out)

    def dots(
        weights: int, stride: int, outputs: int, x: int, x_stride: int, rows: int, inputs: int, target: Any, finish: Any, beyond: int
    ) -> None:
        """Results (rows, outputs) = x (rows, inputs) times weights (outputs, inputs), finished as a tile finishes them.

        Strides in bytes; at least eight outputs; inputs a multiple of 8, of int8 of 16. `target` are the place of
        the results, their stride, and places for as many more and for wider weights; `finish` the last seven fields of a `Tile`. While
        groups of rows go over near weights, those that follow are fetched at the pace that has them there in
        time; after the last ones, those at `beyond`. Weights of 16 bits become float32 once for many groups: in every
        tile that would cost half as much as its products.
        """
        results, room, spare, wide = target
        steps, groups = inputs // step, (rows + tall - 1) // tall
        wider = small and groups > 1 and rows // groups > 2 and AT_ONCE * 4 * (inputs + LINE) <= WIDEST
        by = 4 * (inputs + LINE) if wider else stride
        near = max(1, NEAR // by // AT_ONCE) * AT_ONCE if groups > 1 else outputs
        pace = near * stride // (groups * (near // 3) * steps) + 1
        for start in range(0, outputs, near):
            end = min(start + near, outputs)
            ahead = weights + end * stride if end < outputs else beyond
            held = weights
            if wider:
                low = min(start, outputs - 3)  # the last tile goes back to here
                spread(weights + low * stride, stride, end - low, wide, by, steps)
                held = wide - low * by
            for group in range(groups):
                row, count = _group(group, groups, rows)
                here, there = x + row * x_stride, results + row * room
                width = 8 if count == 1 else 4 if count == 2 else 3
                for output in range(start, end, width):
                    at = min(output, outputs - width)  # the last tile may compute some a second time
                    twice = at < output and finish[-1] != 0  # but must not add some a second time
                    place, result = held + at * by, spare if twice else there + 4 * at
                    fetched = (ahead, pace) if groups > 1 else (place + width * stride, width * stride // steps)
                    given = (place, by, here, x_stride, steps, result, room) + fetched + _finish(finish, row, at, twice)  # noqa: RUF005
                    if wider:
                        carry_out_wide(given, count)
                    else:
                        carry_out(given, count)
                    if twice:
                        _add_late(there, spare, room, count, output, outputs, at)
                    ahead += steps * pace

    return njit(dots, kind=kind)


dots_float32, dots_float16, dots_bfloat16, dots_int8 = (_dots_of(kind) for kind in WEIGHT_BYTES)
