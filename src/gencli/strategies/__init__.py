"""The shelf of strategies: who is asked for the next token. Here is their contract.

A strategy moves the decoder and the memories forward; it knows tensors and token ids, no text, no
limits and no events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gencli.candidates import Candidates
from gencli.memory import Memory


@dataclass(frozen=True)
class Step:
    """What one step drew: `ids`, one a row; `passed` holds the candidates before the first stage and
    after each one where the trace was asked for, else it is None."""

    ids: list[int]
    passed: list[Candidates] | None


class Strategy(Protocol):
    """`Sample(decoder, pipeline, memories, logits)`: rows stand in the order of `memories`."""

    memories: list[Memory]

    def step(self, traced: bool = False) -> Step:
        """Draw the next token of every row and remember it."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only."""
        ...
