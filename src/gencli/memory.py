"""What a sequence remembers: its ids, its prompt length and its noise. Knows no model, stage or text."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from gencli.candidates import Candidates

DRAW = 0  # the purpose of the draw's own noise; a stage with a coin takes a number of its own


class Memory:
    """One sequence: `ids` (prompt and output), `prompt_length`, and noise keyed by seed and sample.

    Noise is counter-based: a function of (seed, sample, step, purpose, index) and of nothing else, so
    that a sample draws the same noise alone, in any batch, resumed, or beside another preset.
    """

    __slots__ = ("ids", "prompt_length", "sample", "seed")

    def __init__(self, prompt_ids: Sequence[int], seed: int = 0, sample: int = 0) -> None:
        self.ids = list(prompt_ids)
        self.prompt_length = len(self.ids)
        self.seed = seed
        self.sample = sample

    @property
    def step(self) -> int:
        """How many tokens were generated so far."""
        return len(self.ids) - self.prompt_length

    def append(self, token_id: int) -> None:
        self.ids.append(token_id)

    def uniform(self, purpose: int = DRAW, index: int = 0) -> float:
        """A number in [0, 1) with 53 random bits, from BLAKE2b over the key."""
        key = struct.pack("<5Q", self.seed, self.sample, self.step, purpose, index)
        bits = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")
        return (bits >> 11) * 2.0**-53

    def window(self, last: int, scope: str) -> list[int]:
        """The ids a penalty looks at: the `last` ones (0: all) of "prompt+output" or of "output"."""
        start = self.prompt_length if scope == "output" else 0
        if last:
            start = max(start, len(self.ids) - last)
        return self.ids[start:]


def counts(candidates: Candidates, memories: Sequence[Memory], last: int, scope: str) -> Tensor:
    """(rows, n) float: how often each candidate stands in its row's window."""
    import torch

    ids = candidates.ids
    out = torch.zeros_like(candidates.logits)
    for row, memory in enumerate(memories):
        seen = memory.window(last, scope)
        if not seen:
            continue
        found = torch.tensor(seen, dtype=torch.int64, device=out.device)
        if ids is None:
            found = found[found < candidates.width]
            out[row].index_add_(0, found, torch.ones_like(found, dtype=out.dtype))
        else:
            size = int(ids[row].max()) + 1
            found = found[found < size]
            out[row] = torch.bincount(found, minlength=size)[ids[row]].to(out.dtype)
    return out
