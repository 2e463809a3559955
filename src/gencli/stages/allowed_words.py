"""Allowed words: only their tokens may come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from gencli.errors import UsageError
from gencli.stages import knob

if TYPE_CHECKING:
    from torch import Tensor

    from gencli.candidates import Candidates
    from gencli.memory import Memory
    from gencli.vocabulary import Vocabulary


@dataclass(frozen=True)
class AllowedWords:
    """Keep only the tokens of the named words.

    A word is named by its exact text, leading space included, or by a token's id. Of a text that is several tokens each
    one is allowed, in any order. Where none of them is in play, the row stays as it was.
    """

    place: ClassVar[float] = 12
    source: ClassVar[str] = "vLLM, SamplingParams.allowed_token_ids"
    reads: ClassVar[str] = "token"
    aliases: ClassVar[tuple[str, ...]] = ("allowed_token_ids",)

    words: tuple[str | int | tuple[int, ...], ...] = knob("words", (), "Only the tokens of these words may come.", neutral=())
    end: str = knob("choice", "forbidden", "Whether the text may end as well.", choices=("forbidden", "allowed"))

    def bind(self, vocabulary: Vocabulary) -> AllowedWords:
        """The same words by their tokens' ids; raises `UsageError` for an id outside the vocabulary and a text of no tokens."""
        ids = {token for word in self.words for token in _token_ids(word, vocabulary)}
        ends = vocabulary.end_ids if self.words and self.end == "allowed" else frozenset()
        return replace(self, words=tuple(sorted(ids | ends)))

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if not self.words:
            return candidates
        import torch

        allowed = torch.tensor(self.words)
        return candidates.select([self._alive(candidates, row, allowed) for row in range(candidates.rows)])

    def _alive(self, candidates: Candidates, row: int, allowed: Tensor) -> Tensor:
        columns, _ = candidates.columns(row, allowed)
        return columns[candidates.logits[row, columns] > -math.inf]

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        return "not among the allowed words"


def _token_ids(word: str | int | tuple[int, ...], vocabulary: Vocabulary) -> list[int]:
    ids = vocabulary.encode(word) if isinstance(word, str) else [word] if isinstance(word, int) else list(word)
    if not ids:
        raise UsageError(f"allowed_words: {word!r} is no token of this checkpoint.")
    for token in ids:
        if not 0 <= token < vocabulary.size:
            raise UsageError(f"allowed_words: token id {token} is outside the vocabulary (0 to {vocabulary.size - 1}).")
    return ids
