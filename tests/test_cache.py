"""The KV cache holds what it was given, whatever was rewound, forked or kept."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gencli.cache import KVCache
from gencli.errors import RunError, UsageError
from gencli.models.gpt2 import Gpt2Config, random_gpt2

LAYERS, HEADS, DIM, CAPACITY = 2, 3, 4, 12


def fill(cache: KVCache, start: int, count: int) -> None:
    """Write recognisable numbers: layer, row and position can be read off."""
    cache.begin(count)
    for layer in range(LAYERS):
        keys = torch.empty(cache.rows, HEADS, count, DIM)
        for row in range(cache.rows):
            for position in range(count):
                keys[row, :, position] = 100 * layer + 1000 * row + start + position
        cache.update(layer, torch.stack([keys, -keys]))
    cache.advance()


def views(cache: KVCache) -> list[torch.Tensor]:
    cache.begin(0)
    return [cache.update(layer, torch.empty(2, cache.rows, HEADS, 0, DIM)) for layer in range(LAYERS)]


def test_update_gives_views_of_all_so_far() -> None:
    cache = KVCache(LAYERS, 2, HEADS, CAPACITY, DIM)
    fill(cache, 0, 5)
    fill(cache, 5, 1)
    assert cache.length == 6
    for layer, (keys, values) in enumerate(views(cache)):
        assert keys.shape == values.shape == (2, HEADS, 6, DIM)
        assert keys[1, 0, :, 0].tolist() == [100 * layer + 1000 + position for position in range(6)]
        assert torch.equal(values, -keys)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 4)), max_size=5))
def test_a_rewound_cache_is_one_that_never_went_further(moves: list[tuple[int, int]]) -> None:
    cache = KVCache(LAYERS, 1, HEADS, CAPACITY, DIM)
    for back, count in moves:
        cache.rewind(min(back, cache.length))
        if cache.length + count <= CAPACITY:
            fill(cache, cache.length, count)
    plain = KVCache(LAYERS, 1, HEADS, CAPACITY, DIM)
    fill(plain, 0, cache.length)
    for one, other in zip(views(cache), views(plain), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_forked_rows_are_copies_that_go_their_own_ways() -> None:
    cache = KVCache(LAYERS, 1, HEADS, CAPACITY, DIM)
    fill(cache, 0, 4)
    forked = cache.fork(3)
    fill(forked, 4, 2)
    assert (forked.rows, forked.length, cache.length) == (3, 6, 4)
    keys = views(forked)[1][0]
    assert keys[:, 0, :4, 0].tolist() == [[100, 101, 102, 103]] * 3
    assert keys[2, 0, 4:, 0].tolist() == [2104, 2105]


def test_kept_rows_stand_in_the_order_asked_for() -> None:
    cache = KVCache(LAYERS, 4, HEADS, CAPACITY, DIM)
    fill(cache, 0, 3)
    kept = cache.keep([3, 1])
    assert views(kept)[0][0][:, 0, :, 0].tolist() == [[3000, 3001, 3002], [1000, 1001, 1002]]
    assert kept.nbytes == cache.nbytes // 2


def test_bytes_are_those_of_the_lesson() -> None:
    # 32 layers, width 4096, 8192 positions, float16: 4 GiB a sequence; here a 2^-12th of it
    assert KVCache(32, 1, 32, 2, 128, dtype=torch.float16).nbytes << 12 == 4 << 30


def test_a_cache_for_a_model() -> None:
    model = random_gpt2(Gpt2Config(vocab_size=20, context=16, width=8, layers=2, heads=2, mlp_width=16))
    assert KVCache.of(model).nbytes == 2 * 2 * 2 * 16 * 4 * 4
    cache = KVCache.of(model, rows=3, capacity=5)
    assert (cache.rows, cache.capacity, cache.length) == (3, 5, 0)


def test_beyond_its_capacity_it_says_so() -> None:
    cache = KVCache(LAYERS, 1, HEADS, CAPACITY, DIM)
    fill(cache, 0, CAPACITY)
    with pytest.raises(UsageError, match="holds 12 positions, and 13 are asked for"):
        fill(cache, CAPACITY, 1)
    with pytest.raises(UsageError, match="12 positions cannot be rewound to 13"):
        cache.rewind(13)


def test_memory_that_cannot_be_had_is_an_error_in_a_sentence() -> None:
    with pytest.raises(RunError, match="no memory for the KV cache of 1 x 1099511627776 positions"):
        KVCache(1, 1, 8, 2**40, 1024)


BARELY_USED = """
from gencli.cache import KVCache

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon"))

cache = KVCache(4, 1, 8, 8192, 64)  # 128 MiB, heads a large page apart
before = anonymous()
for layer in cache.layers:
    layer[:, :, :, :8] = 1
print(anonymous() - before, cache.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told by Linux")
def test_a_capacity_that_may_stay_unused_costs_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", BARELY_USED], capture_output=True, text=True, timeout=60, check=True)
    taken, capacity = map(int, done.stdout.split())
    assert taken < capacity / 50
