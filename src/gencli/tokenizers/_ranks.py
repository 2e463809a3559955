"""A merge list as the ranks that tiktoken wants, where both mean the same. Knows only numbers.

A merge list says which pairs join; tiktoken joins any two neighbours whose bytes together are a token,
and takes a whole piece that is a token as it is. Both give the same ids for every text if each merged
token, taken alone, is put together by one of its listed merges. For what happens inside the span of a
token happens as if it stood alone, as long as nothing has joined across its ends; so neighbours that
tiktoken would join without a listed merge never come to stand side by side.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

_BYTE = -1  # the rank of a single byte: before all merges
_NEVER = 1 << 62
_STEPS = 64  # back in time, a merge; vocabularies in use need some ten, and a forged one a step for each merge before


def merge_order(singles: Iterable[int], merges: Iterable[tuple[int, int, int]], size: int) -> list[int] | None:
    """The ids of the merged tokens in the order that tiktoken's ranks must have; None where no ranks would do.

    `singles` are the ids of the single bytes, `merges` are (left, right, result), the first merge
    first; all ids are below `size`. Merges that can never happen are left out: a list that holds
    every split of its tokens has many. None as well where that would take very long to find out.
    """
    ranks = [_NEVER] * size
    for id in singles:
        ranks[id] = _BYTE
    lefts, rights = [0] * size, [0] * size  # the two parts of a merged token
    pairs: dict[int, int] = {}
    order: list[int] = []
    early: list[tuple[int, int, int]] = []  # merges whose parts come later, if ever
    steps = 0
    for at, (left, right, result) in enumerate(merges):
        key = left * size + right
        if key in pairs:
            return None
        if ranks[left] == _NEVER or ranks[right] == _NEVER:
            early.append((left, right, result))
            pairs[key] = at
            continue
        crossed, taken = _crossed(left, right, at, ranks, lefts, rights, pairs)
        steps += taken
        if steps > _STEPS * (at + 1000):
            return None
        if not crossed:
            if ranks[result] != _NEVER:
                return None
            ranks[result], lefts[result], rights[result] = at, left, right
            order.append(result)
        pairs[key] = at
    for left, right, result in early:
        later = max(ranks[left], ranks[right])
        if later != _NEVER and ranks[result] > later:
            return None
    return order


def _crossed(
    left: int, right: int, at: int, ranks: list[int], lefts: list[int], rights: list[int], pairs: dict[int, int]
) -> tuple[bool, int]:
    """Whether an earlier merge joins across the border of `left` and `right` before merge `at` can, and the steps it took.

    Goes back in time: the younger of the two tokens at the border comes apart, then the older, until
    single bytes are left, and looks whether the pair that stood there would have joined.
    """
    size = len(ranks)
    left_until = right_until = at  # when each of the two goes into a larger token
    for steps in count():
        left_rank, right_rank = ranks[left], ranks[right]
        if left_rank > right_rank:
            left_until, left = left_rank, rights[left]
        elif right_rank != _BYTE:
            right_until, right = right_rank, lefts[right]
        else:
            return False, steps
        joins = pairs.get(left * size + right)
        # of equal merges the leftmost goes first: one inside the left token wins, one inside the right loses
        if joins is not None and joins < left_until and joins <= right_until:
            return True, steps
    raise AssertionError  # no chain of merges is endless
