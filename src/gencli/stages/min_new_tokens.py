"""Minimum length: no end token before so many new tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from gencli.stages import knob

if TYPE_CHECKING:
    from gencli.candidates import Candidates
    from gencli.memory import Memory
    from gencli.vocabulary import Vocabulary


@dataclass(frozen=True)
class MinNewTokens:
    """Forbid the end tokens until that many tokens were generated."""

    place: ClassVar[float] = 30
    source: ClassVar[str] = "transformers, MinNewTokensLengthLogitsProcessor"
    reads: ClassVar[str] = "token"

    tokens: int = knob("int", 0, "How many tokens must come before the text may end; 0 lets it end at once.", neutral=0, low=0)
    end_ids: tuple[int, ...] = ()

    def bind(self, vocabulary: Vocabulary) -> MinNewTokens:
        """The same minimum, knowing the checkpoint's end tokens."""
        return replace(self, end_ids=tuple(sorted(vocabulary.end_ids)))

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        early = [row for row, memory in enumerate(memories) if memory.step < self.tokens]
        return candidates.without(self.end_ids, early) if self.end_ids and early else candidates

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        return f"an end token before {self.tokens} new tokens"
