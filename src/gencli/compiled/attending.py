"""Attention of one new position over a cache: a part of the positions at a time, for one head of keys and values. Knows no thread."""

from __future__ import annotations

from typing import Any

import numpy as np

from gencli.compiled.functions import ONE, exp
from gencli.compiled.mixing import mix, score
from gencli.compiled.slots import LEAST_OUTPUTS, NEAR, PART
from gencli.compiled.team import line, njit

# up to three queries go over keys and values once, and fetch in that time as much again; more of them go over each several times
_score_1, _score_2, _score_3 = (score(queries, 128) for queries in (1, 2, 3))
_mix_1_4, _mix_2_4, _mix_3_4, _mix_1_1 = mix(1, 4, 128), mix(2, 4, 128), mix(3, 4, 128), mix(1, 1)


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
def _scores(q: int, heads: int, head_dim: int, keys: int, count: int, scores: int, values: int) -> None:
    """The scores (heads, count) of `heads` queries for some keys, which every query goes over while they are near."""
    width, room, steps = 4 * head_dim, 4 * PART, head_dim // 8
    near = max(4, NEAR // width // 4 * 4)
    pace = min(128, 4 * width // (steps * ((heads + 2) // 3)) + 1)
    for start in range(0, count, near):
        end = min(start + near, count)
        ahead = keys + end * width if end < count else values
        for head in range(0, heads, 3):
            rows = min(3, heads - head)
            query, results = q + head * width, scores + head * room
            for key in range(start, end, 4):
                at = min(key, count - 4)  # the last ones may be computed a second time
                place, result = keys + at * width, results + 4 * at
                if rows == 3:
                    _score_3(place, width, query, width, steps, result, room, ahead, pace)
                elif rows == 2:
                    _score_2(place, width, query, width, steps, result, room, ahead, pace)
                else:
                    _score_1(place, width, query, width, steps, result, room, ahead, pace)
                ahead += steps * pace


@njit
def _mixed(values: int, width: int, shares: int, rows: int, count: int, results: int) -> None:
    """To `rows` results are added weighted sums of `count` values, 32 numbers at a time; the rest eight at a time."""
    room, wide = 4 * PART, width - width % 128
    ahead = values + count * width
    pace = min(128, width // max(1, wide // 128 * ((rows + 2) // 3)) + 1)
    for at in range(0, wide, 128):
        for row in range(0, rows, 3):
            share, result = shares + row * room, results + row * width + at
            if rows - row >= 3:
                _mix_3_4(values + at, width, share, room, count, result, width, ahead, pace)
            elif rows - row == 2:
                _mix_2_4(values + at, width, share, room, count, result, width, ahead, pace)
            else:
                _mix_1_4(values + at, width, share, room, count, result, width, ahead, pace)
            ahead += count * pace
    for at in range(wide, width, 32):
        for row in range(rows):
            _mix_1_1(values + at, width, shares + row * room, room, count, results + row * width + at, width, values + at, 0)


@njit
def attend_part(q: int, heads: int, head_dim: int, keys: int, values: int, count: int, scores: int, results: int, sums: Any) -> None:
    """`heads` queries (head_dim) over `count` keys and values, in float32 at these addresses.

    Results (heads, head_dim) are weighted sums that are not divided yet; `sums` (heads, 2) holds the
    largest score and the sum of the weights. `scores` has room for heads x PART numbers.
    """
    width, room = 4 * head_dim, 4 * PART
    if count < LEAST_OUTPUTS:  # too few for a tile
        for head in range(heads):
            _few_scores(line(q + head * width, head_dim), keys, line(scores + head * room, count))
    else:
        _scores(q, heads, head_dim, keys, count, scores, values)
    for head in range(heads):
        sums[head, 0], sums[head, 1] = _weigh(line(scores + head * room, count), count)
    mixed = line(results, heads * head_dim)
    for at in range(heads * head_dim):
        mixed[at] = 0
    near = max(1, NEAR // width)
    for start in range(0, count, near):
        _mixed(values + start * width, width, scores + 4 * start, heads, min(near, count - start), results)


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
