"""DRY: the longer a repetition would become, the less likely its next token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from gencli.errors import UsageError
from gencli.stages import knob

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gencli.candidates import Candidates
    from gencli.memory import Memory
    from gencli.vocabulary import Vocabulary


LARGEST = 1e30  # by which a penalty grows: far beyond it float32 ends
LONGEST = 512  # so many tokens beyond the allowed ones count; a longer repetition is penalised like one of so many

Breaker = str | int | tuple[int, ...]


@dataclass(frozen=True)
class Dry:
    """Where the last n tokens stand earlier in the text, lower what followed there by multiplier x base^(n - allowed_length).

    Only runs of at least `allowed_length` tokens count, and of several the longest. A breaker ends every run: no
    repetition reaches across it, and a token that is one is never penalised.
    """

    place: ClassVar[float] = 23
    source: ClassVar[str] = "p-e-w 2024, DRY (text-generation-webui pull request 5677)"
    reads: ClassVar[str] = "token"

    multiplier: float = knob("float", 0.0, "How strong the penalty is: 0.8 is usual; 0 is off.", neutral=0.0, low=0.0, high=100.0)
    base: float = knob("float", 1.75, "By how much it grows with each token of the repetition.", low=1.0, high=100.0)
    allowed_length: int = knob("int", 2, "From how many repeated tokens on the next one is penalised.", low=1)
    last: int = knob("int", 0, "How many of the latest tokens are searched; 0 searches all.", low=0)
    breakers: tuple[Breaker, ...] = knob("words", ("\n", ":", '"', "*"), "Texts or tokens that no repetition reaches across.")

    def bind(self, vocabulary: Vocabulary) -> Dry:
        """The same stage with its breakers as tokens: each token that holds one, and each run of tokens that is one."""
        found = {ids for each in self.breakers for ids in _runs(each, vocabulary)}
        return replace(self, breakers=tuple(ids[0] if len(ids) == 1 else ids for ids in sorted(found)))

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.multiplier == 0:
            return candidates
        import torch

        logits = candidates.logits.clone()
        for row, memory in enumerate(memories):
            penalties = self.penalties(memory)
            ids = torch.tensor(sorted(penalties), dtype=torch.int64)
            columns, present = candidates.columns(row, ids)
            amounts = torch.tensor([penalties[each] for each in sorted(penalties)], dtype=logits.dtype)
            logits[row, columns] -= amounts[present]
        return candidates.with_logits(logits)

    def penalties(self, memory: Memory) -> dict[int, float]:
        """What is subtracted from the logit of each token that would go on with a repetition."""
        ids = memory.latest(self.last)
        limit = min(self._since_a_breaker(ids), self._longest)
        if limit < self.allowed_length or len(ids) <= self.allowed_length:
            return {}
        alone = {token for token, tails in self._heads.items() if () in tails}
        found = _repeats(ids, self.allowed_length, limit)
        return {
            token: self.multiplier * self.base ** (length - self.allowed_length) for token, length in found.items() if token not in alone
        }

    @cached_property
    def _longest(self) -> int:
        """From how many tokens on a longer repetition costs no more."""
        steps = math.log(LARGEST) / math.log(self.base) if self.base > 1 else 0.0
        return self.allowed_length + min(math.ceil(steps), LONGEST)

    @cached_property
    def _heads(self) -> dict[int, tuple[tuple[int, ...], ...]]:
        """The first token of each breaker -> what follows it in one, the longest first."""
        found: dict[int, list[tuple[int, ...]]] = {}
        for each in self.breakers:
            if not isinstance(each, str):
                head, *tail = (each,) if isinstance(each, int) else each
                found.setdefault(head, []).append(tuple(tail))
        return {head: tuple(sorted(tails, key=len, reverse=True)) for head, tails in found.items()}

    def _since_a_breaker(self, ids: NDArray[np.int64]) -> int:
        """How many tokens follow the latest breaker; all of them where there is none among the latest."""
        latest = ids[-self._longest - 1 :].tolist()
        for back in range(1, len(latest) + 1):
            after = latest[len(latest) - back + 1 :]
            for tail in self._heads.get(latest[-back], ()):
                if tuple(after[: len(tail)]) == tail:
                    return len(after) - len(tail)
        return len(ids)


def _repeats(ids: NDArray[np.int64], shortest: int, longest: int) -> dict[int, int]:
    """Each token that followed the last ids where they stand earlier -> how many of them did, from `shortest` to `longest`."""
    import numpy as np

    same = ids[:-1] == ids[-1]  # where an earlier run of `length` ids ends
    lengths = same.astype(np.int32)
    for length in range(1, min(longest, len(ids) - 1)):
        same[:length] = False
        same[length:] &= ids[: -1 - length] == ids[-1 - length]
        if not same.any():
            break
        lengths += same
    at = np.flatnonzero(lengths >= shortest)
    tokens, which = np.unique(ids[at + 1], return_inverse=True)
    best = np.zeros(len(tokens), dtype=np.int32)
    np.maximum.at(best, which, lengths[at])
    return dict(zip(tokens.tolist(), best.tolist(), strict=True))


def _runs(breaker: Breaker, vocabulary: Vocabulary) -> list[tuple[int, ...]]:
    """The tokens that hold a breaker, and those that begin it with the usual tokens of its rest behind them."""
    if not isinstance(breaker, str):
        ids = (breaker,) if isinstance(breaker, int) else breaker
        if max(ids) >= vocabulary.size:
            raise UsageError(f"dry.breakers: token id {max(ids)} is outside the vocabulary (0 to {vocabulary.size - 1}).")
        return [ids]
    runs: list[tuple[int, ...]] = []
    text = breaker.encode()
    rests = {text[: len(breaker[:cut].encode())]: tuple(vocabulary.encode(breaker[cut:])) for cut in range(1, len(breaker))}
    for token in range(vocabulary.size):
        piece = vocabulary.token_bytes[token]
        if text in piece:
            runs.append((token,))
        elif rests:
            runs += [(token, *rest) for begun, rest in rests.items() if rest and piece.endswith(begun)]
    return runs
