"""Logit bias: push single tokens up or down, or forbid them."""

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
class LogitBias:
    """Add a number to the logits of named tokens; -inf forbids a token.

    A token is named by its id or by its exact text, leading space included. Where forbidding would
    leave nothing, the row stays as it was.
    """

    place: ClassVar[float] = 10
    source: ClassVar[str] = "OpenAI API reference, logit_bias"
    reads: ClassVar[str] = "token"

    entries: tuple[tuple[str | int, float], ...] = knob(
        "map", (), "Token (its text or id) and the number added to its logit; -inf forbids it.", neutral=(), low=-10000.0, high=10000.0
    )

    def bind(self, vocabulary: Vocabulary) -> LogitBias:
        """The same biases by token id; raises `UsageError` where a text is not exactly one token."""
        return replace(self, entries=tuple((_token_id(token, vocabulary), bias) for token, bias in self.entries))

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        finite = [(token, bias) for token, bias in self.entries if bias > -math.inf]
        banned = [int(token) for token, bias in self.entries if bias == -math.inf]
        if finite:
            candidates = candidates.with_logits(_biased(candidates, finite))
        return candidates.without(banned) if banned else candidates

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        return "its bias is -inf"


def _biased(candidates: Candidates, entries: Sequence[tuple[str | int, float]]) -> Tensor:
    import torch

    logits = candidates.logits.clone()
    ids = torch.tensor([token for token, _ in entries])
    biases = torch.tensor([bias for _, bias in entries], dtype=logits.dtype)
    for row in range(candidates.rows):
        columns, present = candidates.columns(row, ids)
        logits[row].index_add_(0, columns, biases[present])
    return logits


def _token_id(token: str | int, vocabulary: Vocabulary) -> int:
    if isinstance(token, int):
        if not 0 <= token < vocabulary.size:
            raise UsageError(f"logit_bias: token id {token} is outside the vocabulary (0 to {vocabulary.size - 1}).")
        return token
    ids = vocabulary.encode(token)
    if len(ids) != 1:
        pieces = ", ".join(f"{vocabulary.text(each)!r} ({each})" for each in ids) or "none"
        raise UsageError(f"logit_bias: {token!r} is {len(ids)} tokens, not one: {pieces}. Name the tokens one by one.")
    return ids[0]
