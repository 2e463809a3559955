"""Every window once an epoch, the mixture's shares, and a position that is enough to go on."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np

from recipe.batches import Batches, Stream


def stream(name: str = "one", documents: int = 40, seed: int = 0) -> Stream:
    sizes = np.random.default_rng(3).integers(5, 40, documents)
    starts = np.cumsum([0, *sizes])
    return Stream(name, np.arange(starts[-1], dtype=np.uint16), starts, 16, seed)


def test_an_epoch_has_every_window_once() -> None:
    one = stream()
    windows = [one.window(number) for number in range(one.windows)]
    seen = Counter(int(token) for window in windows for token in window[:-1])
    assert set(seen.values()) == {1}
    assert len(seen) >= len(one.tokens) - 3 * 16
    # inside a document the next token follows
    assert np.mean([b - a == 1 for window in windows for a, b in pairwise(window)]) > 0.9


def test_the_next_epoch_has_another_order() -> None:
    one = stream()
    assert any((one.window(at) != one.window(one.windows + at)).any() for at in range(4))


def test_a_window_follows_from_its_number_alone() -> None:
    numbers = [0, 70, 3, 45, 1]
    once = stream()
    for number in numbers:
        assert (once.window(number) == stream().window(number)).all()
    assert (stream(seed=1).window(0) != stream().window(0)).any()


def test_rows_have_the_mixtures_shares_and_go_on() -> None:
    mixture = {"one": 5, "two": 3, "three": 2}
    streams = {name: stream(name) for name in mixture}
    whole = Batches(streams, mixture)
    rows = [whole.rows(3) for _ in range(10)]
    assert whole.drawn == {"one": 15, "two": 9, "three": 6}

    first = Batches(streams, mixture)
    for _ in range(4):
        first.rows(3)
    second = Batches(streams, mixture, first.drawn)
    second.debt = dict(first.debt)
    assert all((second.rows(3) == each).all() for each in rows[4:])
