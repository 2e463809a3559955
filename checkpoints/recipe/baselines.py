"""What a checkpoint is measured against: a 5-gram model with Kneser-Ney smoothing, and xz -9. Knows no network."""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ORDER = 5
Keys = NDArray[np.uint64]
Weights = NDArray[np.float64]


class KneserNey:
    """Interpolated Kneser-Ney over token ids, with one discount an order, estimated from how many n-grams occur once and twice.

    The lower orders count in how many different contexts a token continues, not how often it occurs (Kneser and Ney 1995;
    interpolated as in Chen and Goodman 1999). Histories are hashed to 64 bits.
    """

    def __init__(self, tokens: NDArray[np.integer], vocabulary: int, order: int = ORDER) -> None:
        self.order, self.vocabulary = order, vocabulary
        self.grams: list[tuple[Keys, Weights]] = []  # of an order: keys in order, discounted counts
        self.histories: list[tuple[Keys, Weights, Weights]] = []  # keys, totals, what is left to share
        ids = tokens.astype(np.uint64)
        for n in range(1, order + 1):
            keys, counts, histories = self._counted(ids, n)
            once, twice = int((counts == 1).sum()), int((counts == 2).sum())
            discount = once / (once + 2 * twice) if once and twice else 0.5
            own, place = np.unique(histories, return_inverse=True)
            totals = np.bincount(place, weights=counts).astype(np.float64, copy=False)
            kinds = np.bincount(place)
            by_key = np.argsort(keys)
            self.grams.append((keys[by_key], (counts - discount)[by_key]))
            self.histories.append((own, totals, discount * kinds.astype(np.float64)))

    def _counted(self, ids: Keys, n: int) -> tuple[Keys, Weights, Keys]:
        """Keys of the n-grams, how often each counts, and the keys of their histories."""
        full = min(n + 1, self.order)  # a lower order counts distinct n-grams that are one token longer
        wide = _keys(ids, full)
        _, first, often = np.unique(wide, return_index=True, return_counts=True)
        if n == self.order:
            ends, weights = first + n, often.astype(np.float64)
        else:
            ends, weights = first + full, np.ones(len(first))
        keys = _keys(ids, n)[ends - n]
        unique, at, place = np.unique(keys, return_index=True, return_inverse=True)
        counts = np.bincount(place, weights=weights).astype(np.float64, copy=False)
        starts = (ends - n)[at]
        return unique, counts, _keys(ids, n - 1)[starts] if n > 1 else np.zeros(len(unique), np.uint64)

    def probabilities(self, tokens: Sequence[int]) -> Weights:
        """The probability of every token but the first, each after up to order - 1 before it."""
        ids = np.asarray(tokens, dtype=np.uint64)
        result = np.full(len(ids), 1.0 / self.vocabulary)
        for n in range(1, self.order + 1):
            (keys, counts), (own, totals, left) = self.grams[n - 1], self.histories[n - 1]
            if len(ids) < n:
                break
            found = _looked(keys, counts, _keys(ids, n))
            before = _keys(ids, n - 1)[: len(ids) - n + 1] if n > 1 else np.zeros(len(ids), np.uint64)
            total, share = _looked(own, totals, before), _looked(own, left, before)
            known = total > 0
            lower = result[n - 1 :]
            result[n - 1 :] = np.where(known, (found + share * lower) / np.where(known, total, 1.0), lower)
        return result[1:]


def five_gram_bits(model: KneserNey, encoded: Iterable[tuple[Sequence[int], int]]) -> float:
    """Bits per byte over (ids, bytes) of texts; each begins after the end token 0."""
    bits, size = 0.0, 0
    for ids, count in encoded:
        bits -= float(np.log2(model.probabilities([0, *ids])).sum())
        size += count
    return bits / max(size, 1)


def trained_tokens(data: Path, abilities: Iterable[str]) -> NDArray[np.uint16]:
    """The tokens that training draws from, one ability after the other."""
    parts = []
    for name in abilities:
        with np.load(data / f"{name}.npz") as stored:
            parts.append(stored["tokens"])
    return np.concatenate(parts)


def xz_bits(texts: Iterable[str]) -> float:
    """Bits per byte of the texts as one file under xz -9's method, without the container's few bytes."""
    whole = "".join(texts).encode()
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9}]
    return 8 * len(lzma.compress(whole, lzma.FORMAT_RAW, filters=filters)) / max(len(whole), 1)


def _keys(ids: Keys, n: int) -> Keys:
    """A 64-bit hash of the n tokens from each place on; two n-grams of ten million share one about once in 370,000 corpora."""
    count = len(ids) - n + 1
    keys = np.zeros(max(count, 0), np.uint64)
    with np.errstate(over="ignore"):
        for offset in range(n):
            keys = keys * np.uint64(0x9E3779B97F4A7C15) + ids[offset : offset + count] + np.uint64(1)
            keys ^= keys >> np.uint64(29)
    return keys


def _looked(keys: Keys, values: Weights, wanted: Keys) -> Weights:
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0.0)
