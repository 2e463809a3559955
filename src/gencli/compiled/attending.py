"""Attention of one new position over a cache: a part of the positions at a time, for one head of keys and values. Knows no thread."""

from __future__ import annotations

from typing import Any

import numpy as np

from gencli.compiled.dots import dots_float32
from gencli.compiled.functions import ONE, exp
from gencli.compiled.slots import LEAST_OUTPUTS, PART
from gencli.compiled.team import line, njit
from gencli.compiled.tiles import mix

_mix_1_4, _mix_2_4, _mix_3_4, _mix_1_1 = mix(1, 4), mix(2, 4), mix(3, 4), mix(1, 1)


@njit
def rotate(x: Any, cos: Any, sin: Any) -> None:
    """A head (n,) turned in place by a position's angles (n,): x cos + (halves of x swapped) sin."""
    half = len(x) // 2
    for at in range(half):
        first, second = x[at], x[at + half]
        x[at] = first * cos[at] + second * sin[at]
        x[at + half] = second * cos[at + half] + first * sin[at + half]


@njit(fastmath={"reassoc", "contract"})
def _weigh(scores: Any, count: int) -> Any:
    """The first `count` scores become e^(score - largest), in place: (largest, their sum)."""
    largest = scores[0]
    for at in range(count):
        largest = max(largest, scores[at])
    total = np.float32(0)
    for at in range(count):
        scores[at] = exp(scores[at] - largest)
        total += scores[at]
    return largest, total


@njit(fastmath={"reassoc", "contract"})
def _few_scores(query: Any, keys: int, scores: Any) -> None:
    """The scores (n,) of one query (head_dim,) for n keys at an address."""
    for key in range(len(scores)):
        held, total = line(keys + 4 * key * len(query), len(query)), np.float32(0)
        for at in range(len(query)):
            total += query[at] * held[at]
        scores[key] = total


@njit
def mixed(values: int, stride: int, shares: int, share_stride: int, count: int, results: int, rows: int, head_dim: int) -> None:
    """`rows` weighted sums of `count` values (head_dim), 32 numbers wide at a time; the rest eight wide."""
    width = 4 * head_dim
    wide = head_dim - head_dim % 32
    for at in range(0, 4 * wide, 128):
        row = 0
        while row < rows:
            share, result = shares + row * share_stride, results + row * width + at
            if rows - row >= 3:
                _mix_3_4(values + at, stride, share, share_stride, count, result, width)
                row += 3
            elif rows - row == 2:
                _mix_2_4(values + at, stride, share, share_stride, count, result, width)
                row += 2
            else:
                _mix_1_4(values + at, stride, share, share_stride, count, result, width)
                row += 1
    for at in range(4 * wide, width, 32):
        for row in range(rows):
            _mix_1_1(values + at, stride, shares + row * share_stride, share_stride, count, results + row * width + at, width)


@njit
def attend_part(
    one: int, nought: int, q: int, heads: int, head_dim: int, keys: int, values: int, count: int, scores: int, results: int, sums: Any
) -> None:
    """`heads` queries (head_dim) over `count` keys and values, in float32 at these addresses.

    Results (heads, head_dim) are weighted sums that are not divided yet; `sums` (heads, 2) holds the
    largest score and the sum of the weights. `scores` has room for heads x PART numbers. 1 and 0 stand at
    `one` and `nought`.
    """
    width, room = 4 * head_dim, 4 * PART
    if count < LEAST_OUTPUTS:  # too few for a tile
        for head in range(heads):
            _few_scores(line(q + head * width, head_dim), keys, line(scores + head * room, count))
    else:
        dots_float32(
            keys, width, count, q, width, heads, head_dim, scores, room, (one, 0, one, 0, nought, 0, 0), scores, keys + count * width
        )
    for head in range(heads):
        sums[head, 0], sums[head, 1] = _weigh(line(scores + head * room, count), count)
    mixed(values, width, scores, room, count, results, heads, head_dim)


@njit
def merge(parts: Any, sums: Any, count: int, result: Any) -> None:
    """result (head_dim,) from `count` parts (count, head_dim) with their largest scores and sums (count, 2)."""
    largest = sums[0, 0]
    for part in range(count):
        largest = max(largest, sums[part, 0])
    total = np.float32(0)
    for at in range(len(result)):
        result[at] = 0
    for part in range(count):
        share = exp(sums[part, 0] - largest)
        total += share * sums[part, 1]
        for at in range(len(result)):
            result[at] += share * parts[part, at]
    for at in range(len(result)):
        result[at] *= ONE / total
