"""Top-k: only the k likeliest tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gencli.stages import knob

if TYPE_CHECKING:
    from gencli.candidates import Candidates
    from gencli.memory import Memory


@dataclass(frozen=True)
class TopK:
    """Keep exactly the k likeliest tokens; among ties the lowest ids stay. 0 keeps all."""

    place: ClassVar[float] = 60
    source: ClassVar[str] = "Fan, Lewis and Dauphin 2018, Hierarchical Neural Story Generation (arXiv:1805.04833)"
    reads: ClassVar[str] = "rank"

    k: int = knob("int", 0, "How many of the likeliest tokens stay in play; 0 keeps all.", neutral=0, low=0)

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        return candidates.top(self.k) if self.k else candidates

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        rank = before.rank(row, token_id)
        return f"rank {rank} > {self.k}"
