"""Which tokens a step learns from: a mixture of abilities, every document once an epoch. Knows no network and no text.

All of it follows from the seed and the number of rows drawn so far, so that a run continues where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# what share of the rows each ability has; trials.md tells what another mixture does
MIXTURE = {"prose": 0.40, "stories": 0.14, "chat": 0.12, "functions": 0.16, "modules": 0.18}


class Stream:
    """One ability's tokens: documents in a new order every epoch, cut into windows of `length` + 1, in a new order too."""

    def __init__(self, name: str, tokens: NDArray[np.uint16], starts: NDArray[np.int64], length: int, seed: int) -> None:
        self.name, self.tokens, self.starts, self.length, self.seed = name, tokens, starts, length, seed
        self.windows = (len(tokens) - 1) // length - 1
        if self.windows < 1:
            raise ValueError(f"The ability {name} has {len(tokens)} tokens: too few for windows of {length}.")
        self._epoch = -1

    def window(self, number: int) -> NDArray[np.int64]:
        """The window (length + 1,) that is drawn as the `number`-th, counted over all epochs."""
        epoch, within = divmod(number, self.windows)
        if epoch != self._epoch:
            self._shuffle(epoch)
        start = self._offset + int(self._order[within]) * self.length
        return self._row[start : start + self.length + 1].astype(np.int64)

    def _shuffle(self, epoch: int) -> None:
        draw = np.random.default_rng([self.seed, epoch, *self.name.encode()])
        order = draw.permutation(len(self.starts) - 1)
        self._row = np.concatenate([self.tokens[self.starts[each] : self.starts[each + 1]] for each in order])
        self._offset = int(draw.integers(self.length))
        self._order = draw.permutation(self.windows)
        self._epoch = epoch


class Batches:
    """Rows of all abilities in the mixture's shares; `drawn` says how many of each there were so far."""

    def __init__(self, streams: Mapping[str, Stream], mixture: Mapping[str, float], drawn: Mapping[str, int] | None = None) -> None:
        self.streams = streams
        total = sum(mixture.values())
        self.shares = {name: share / total for name, share in mixture.items()}
        self.drawn = {name: (drawn or {}).get(name, 0) for name in self.shares}
        self.debt = dict.fromkeys(self.shares, 0.0)

    def rows(self, count: int) -> NDArray[np.int64]:
        """The next rows (count, length + 1)."""
        return np.stack([self._next() for _ in range(count)])

    def _next(self) -> NDArray[np.int64]:
        for name, share in self.shares.items():
            self.debt[name] += share
        name = max(self.debt, key=lambda each: self.debt[each])  # whoever is owed most
        self.debt[name] -= 1.0
        self.drawn[name] += 1
        return self.streams[name].window(self.drawn[name] - 1)


def load(folder: Path, length: int, seed: int, mixture: Mapping[str, float]) -> dict[str, Stream]:
    """The streams of the abilities in the mixture, from the tokens that `vocabulary.write` left."""
    streams = {}
    for name in mixture:
        with np.load(folder / f"{name}.npz") as stored:
            streams[name] = Stream(name, stored["tokens"], stored["starts"], length, seed)
    return streams
