"""Kneser-Ney against a slow computation with dictionaries; every distribution sums to one."""

from __future__ import annotations

import lzma
from collections import Counter, defaultdict

import numpy as np
import pytest

from recipe.baselines import KneserNey, five_gram_bits, xz_bits

VOCABULARY = 7


def text(seed: int, size: int = 400) -> list[int]:
    draw = np.random.default_rng(seed)
    ids = [0]
    for _ in range(size):
        ids.append(int(draw.choice([(ids[-1] * 2 + 1) % VOCABULARY, draw.integers(VOCABULARY)], p=[0.6, 0.4])))
    return ids


def slow(train: list[int], order: int, history: tuple[int, ...], token: int) -> float:
    """Interpolated Kneser-Ney by its definition."""
    tables: list[Counter[tuple[int, ...]]] = []
    for n in range(1, order + 1):
        if n == order:
            tables.append(Counter(tuple(train[at : at + n]) for at in range(len(train) - n + 1)))
        else:
            longer = {tuple(train[at : at + n + 1]) for at in range(len(train) - n)}
            tables.append(Counter(gram[1:] for gram in longer))
    result = 1 / VOCABULARY
    for n, table in enumerate(tables, start=1):
        values = list(table.values())
        once, twice = values.count(1), values.count(2)
        discount = once / (once + 2 * twice) if once and twice else 0.5
        before = history[len(history) - (n - 1) :]
        if len(history) < n - 1:
            break
        follow: dict[tuple[int, ...], dict[int, int]] = defaultdict(dict)
        for gram, count in table.items():
            follow[gram[:-1]][gram[-1]] = count
        if before in follow:
            counts = follow[before]
            total = sum(counts.values())
            result = (max(counts.get(token, 0) - discount, 0) + discount * len(counts) * result) / total
    return result


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_are_those_of_the_definition(order: int) -> None:
    train, other = text(1), text(2, 60)
    model = KneserNey(np.array(train), VOCABULARY, order)
    expected = [slow(train, order, tuple(other[max(0, at - order + 1) : at]), other[at]) for at in range(1, len(other))]
    assert model.probabilities(other) == pytest.approx(expected)


def test_every_distribution_sums_to_one() -> None:
    train = text(1)
    model = KneserNey(np.array(train), VOCABULARY, 5)
    for history in ([0], [3, 6, 6], [1, 2, 3, 4, 5], train[10:14]):
        assert sum(model.probabilities([*history, token])[-1] for token in range(VOCABULARY)) == pytest.approx(1.0)


def test_bits_are_per_byte() -> None:
    model = KneserNey(np.array(text(1)), VOCABULARY, 2)
    bits = -sum(np.log2(slow(text(1), 2, (a,), b)) for a, b in ((0, 1), (1, 3)))
    assert five_gram_bits(model, [([1, 3], 4)]) == pytest.approx(bits / 4)


def test_xz_is_that_of_the_whole_text() -> None:
    words = ["the cat sat on the mat "] * 400
    size = len("".join(words))
    container = 8 * len(lzma.compress("".join(words).encode(), preset=9)) / size
    assert 0 < container - xz_bits(words) < 8 * 80 / size
