"""Weights times activations, tile by tile, for one kind of weights each. Knows no thread and no bias."""

from __future__ import annotations

from typing import Any

from gencli.compiled.team import njit
from gencli.compiled.tiles import WEIGHT_BYTES, tile


def _dots_of(kind: str) -> Any:
    one, two, three = tile(kind, 8, 1), tile(kind, 4, 2), tile(kind, 4, 3)  # as many sums as registers hold
    step = 16 if kind == "int8" else 8

    def dots(weights: int, stride: int, outputs: int, x: int, x_stride: int, rows: int, inputs: int, results: int, room: int) -> None:
        """results (rows, outputs) = x (rows, inputs) times weights (outputs, inputs).

        Strides and `room` in bytes; at least eight outputs; inputs a multiple of 8, of int8 of 16.
        """
        steps, row = inputs // step, 0
        while row < rows:
            here, there = x + row * x_stride, results + row * room
            count = min(3, rows - row)
            width = 8 if count == 1 else 4
            output = 0
            while output < outputs:
                at = min(output, outputs - width)  # the last tile may compute some a second time
                place, result = weights + at * stride, there + 4 * at
                if count == 3:
                    three(place, stride, here, x_stride, steps, result, room)
                elif count == 2:
                    two(place, stride, here, x_stride, steps, result, room)
                else:
                    one(place, stride, here, x_stride, steps, result, room)
                output += width
            row += count

    return njit(dots)


dots_float32, dots_float16, dots_bfloat16, dots_int8 = (_dots_of(kind) for kind in WEIGHT_BYTES)
