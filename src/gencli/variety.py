"""How varied texts are: unique share, distinct-n, loops, each with a 95 % interval. Plain values; knows no tensors.

Shares of samples have Wilson's interval; ratios that pool the samples have the jackknife's. A bootstrap
would draw the same sample twice and take that for repetition. Where nothing repeats, or everything does,
the jackknife has no spread to go by, and its interval is too narrow.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from gencli.gathering import Written
from gencli.stopping import LoopDetector

Z = 1.959963984540054  # the normal quantile of 97.5 %
GRAMS = (1, 2, 3)


@dataclass(frozen=True)
class Estimate:
    """A measured number and its 95 % interval; without ends where there are too few samples to tell."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Variety:
    """Figures of many samples of one setting.

    `unique` is the share of different texts, `distinct` for n = 1, 2, 3 the different n-grams of tokens
    over all of them (None: no text is that long), `loops` the share of samples that run into a loop,
    `entropy` the mean bits left to choose at a token, `endings` how many samples ended for which reason.
    """

    samples: int
    tokens: int
    unique: Estimate
    distinct: tuple[Estimate | None, ...]
    loops: Estimate
    entropy: Estimate | None
    endings: dict[str, int]


def variety(samples: Sequence[Written]) -> Variety:
    """The figures of at least one sample; n-grams are counted without the end token that closed a text."""
    bodies = [each.ids[:-1] if each.reason == "end_token" else each.ids for each in samples]
    return Variety(
        samples=len(samples),
        tokens=sum(len(each.ids) for each in samples),
        unique=wilson(round(unique_share([each.text for each in samples]) * len(samples)), len(samples)),
        distinct=tuple(distinct(bodies, n) for n in GRAMS),
        loops=wilson(sum(loops(each.ids) for each in samples), len(samples)),
        entropy=mean_of_all([each.entropies for each in samples]),
        endings=dict(Counter(each.reason for each in samples)),
    )


def unique_share(outputs: Sequence[Hashable]) -> float:
    """How many different outputs there are, over how many there are."""
    return len(set(outputs)) / len(outputs)


def loops(ids: Iterable[int]) -> bool:
    """Whether the tokens end in a loop at any point (see `stopping`)."""
    detector = LoopDetector()
    return any(detector.push(token_id) for token_id in ids)


def distinct(texts: Sequence[Sequence[int]], n: int) -> Estimate | None:
    """Different n-grams over all n-grams of all texts (Li et al. 2016, arXiv:1510.03055), by leaving out each text."""
    owners: dict[tuple[int, ...], int] = {}  # the only text that has this n-gram, or -1
    counts = []
    for place, ids in enumerate(texts):
        grams = [tuple(ids[at : at + n]) for at in range(len(ids) - n + 1)]
        counts.append(len(grams))
        for gram in grams:
            if owners.setdefault(gram, place) != place:
                owners[gram] = -1
    alone = [0] * len(texts)
    for owner in owners.values():
        if owner >= 0:
            alone[owner] += 1
    return _ratio(len(owners), sum(counts), alone, counts)


def mean_of_all(groups: Sequence[Sequence[float]]) -> Estimate | None:
    """The mean of all numbers, by leaving out each group; None where there is no number."""
    sums, counts = [math.fsum(group) for group in groups], [len(group) for group in groups]
    return _ratio(math.fsum(sums), sum(counts), sums, counts, most=math.inf)


def wilson(hits: int, trials: int) -> Estimate:
    """The share of hits with Wilson's score interval (1927), which is right near 0 and 1 as well."""
    share = hits / trials
    centre, shrink = share + Z * Z / (2 * trials), 1 + Z * Z / trials
    reach = Z * math.sqrt(share * (1 - share) / trials + Z * Z / (4 * trials * trials))
    low, high = (centre - reach) / shrink, (centre + reach) / shrink
    return Estimate(share, 0.0 if hits == 0 else low, 1.0 if hits == trials else high)


def _ratio(total: float, count: int, totals: Sequence[float], counts: Sequence[int], most: float = 1.0) -> Estimate | None:
    """total / count with the jackknife's interval (Tukey 1958): each sample's part is left out in turn."""
    if count == 0:
        return None
    value, size = total / count, len(counts)
    if size < 2 or max(counts) == count:
        return Estimate(value)
    without = [(total - own) / (count - number) for own, number in zip(totals, counts, strict=True)]
    mean = math.fsum(without) / size
    error = math.sqrt((size - 1) / size * math.fsum((each - mean) ** 2 for each in without))
    reach = student(size - 1) * error
    return Estimate(value, max(0.0, value - reach), min(most, value + reach))


def student(freedom: int) -> float:
    """Student's quantile of 97.5 % (Cornish-Fisher's expansion); within 1 % from 2 degrees of freedom on."""
    if freedom == 1:
        return math.tan(0.475 * math.pi)
    z, v = Z, freedom
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / v**power for power, term in enumerate(terms, start=1))
