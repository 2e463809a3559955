"""The shelf of strategies: who is asked for the next token. Here is their contract.

A strategy moves the decoder and the memories forward; it knows tensors and token ids, no text, no
limits and no events.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from gencli.candidates import Candidates
from gencli.memory import Memory


@dataclass(frozen=True)
class Step:
    """What one step drew: `ids`, one a row, out of `final`, what the pipeline left; `passed` holds the
    candidates before the first stage and after each one where the trace was asked for, else it is None.

    Rows in `retracted` went back to their memory's step after the draw, and it says why. `held` are the
    first steps, one a row, whose tokens may still be taken back; None: all are certain.
    """

    ids: list[int]
    passed: list[Candidates] | None
    final: Candidates
    retracted: Mapping[int, str] = field(default_factory=dict)
    held: list[int] | None = None

    @cached_property
    def entropies(self) -> list[float]:
        """How much each row had left to choose, in bits; reckoned for all rows where the first one asks."""
        entropies: list[float] = (self.final.entropy[:, 0] / math.log(2)).tolist()
        return entropies


class Strategy(Protocol):
    """`Sample(decoder, pipeline, memories, logits, companions)`: rows stand in the order of `memories`."""

    memories: list[Memory]

    def step(self, traced: bool = False) -> Step:
        """Draw the next token of every row and remember it."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only."""
        ...
