"""What a sequence remembers: its ids, its prompt length, its noise and the stages' notes. Knows no model, stage or text."""

from __future__ import annotations

import hashlib
import struct
from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from gencli.candidates import Candidates

DRAW = 0  # the purpose of the draw's own noise; a stage with a coin takes a number of its own


class Memory:
    """One sequence: `ids` (prompt and output), `prompt_length`, and noise keyed by seed and sample.

    Noise is counter-based: a function of (seed, sample, step, purpose, index) and of nothing else, so
    that a sample draws the same noise alone, in any batch, resumed, or beside another preset.

    A note is what a stage wants to know again at later steps: an immutable value under the stage's
    place in the pipeline. All of them are kept with their steps, so that `rewind` restores them exactly.

    What is handed in are logits under another prompt with the same output, of this step alone: the next token or a rewind ends
    them, and a fork is handed its own.
    """

    __slots__ = ("_handed", "_ids", "_notes", "prompt_length", "sample", "seed")

    def __init__(self, prompt_ids: Sequence[int], seed: int = 0, sample: int = 0) -> None:
        self._ids = array("q", prompt_ids)  # 64-bit, so that a tensor can read it without boxing a number
        self.prompt_length = len(self._ids)
        self.seed = seed
        self.sample = sample
        self._notes: dict[int, list[tuple[int, Any]]] = {}  # slot -> (step, note), ascending
        self._handed: dict[tuple[int, ...], Tensor] = {}

    @property
    def ids(self) -> list[int]:
        """Prompt and output so far (a copy)."""
        return self._ids.tolist()

    @property
    def step(self) -> int:
        """How many tokens were generated so far."""
        return len(self._ids) - self.prompt_length

    def append(self, token_id: int) -> None:
        self._ids.append(token_id)
        self._handed.clear()

    def rewind(self, step: int) -> None:
        """Forget the generated tokens from `step` on, and what was noted at those steps."""
        if not 0 <= step <= self.step:
            raise ValueError(f"a memory at step {self.step} cannot be rewound to step {step}.")
        del self._ids[self.prompt_length + step :]
        self._handed.clear()
        for notes in self._notes.values():
            while notes and notes[-1][0] >= step:
                notes.pop()

    def fork(self, sample: int | None = None) -> Memory:
        """A copy that goes its own way from here, with its own noise where it is another `sample`."""
        other = Memory((), self.seed, self.sample if sample is None else sample)
        other._ids, other.prompt_length = self._ids[:], self.prompt_length
        other._notes = {slot: notes[:] for slot, notes in self._notes.items()}
        return other

    def note(self, slot: int, value: Any) -> None:
        """Keep an immutable value for the stage at this place; a second note at the same step replaces the first."""
        notes = self._notes.setdefault(slot, [])
        if notes and notes[-1][0] == self.step:
            notes.pop()
        notes.append((self.step, value))

    def noted(self, slot: int, default: Any = None, before: int | None = None) -> Any:
        """What the stage at this place noted last, or last before a step."""
        notes = self._notes.get(slot, ())
        end = len(notes) if before is None else bisect_left(notes, before, key=itemgetter(0))
        return notes[end - 1][1] if end else default

    def hand(self, prompt: tuple[int, ...], logits: Tensor) -> None:
        """Know the logits (vocabulary,) of this step under another prompt."""
        self._handed[prompt] = logits

    def handed(self, prompt: tuple[int, ...]) -> Tensor | None:
        """The logits (vocabulary,) of this step under another prompt; None where nobody handed them in."""
        return self._handed.get(prompt)

    def uniform(self, purpose: int = DRAW, index: int = 0) -> float:
        """A number in [0, 1) with 53 random bits, from BLAKE2b over the key."""
        key = struct.pack("<5Q", self.seed, self.sample, self.step, purpose, index)
        bits = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")
        return (bits >> 11) * 2.0**-53

    def latest(self, last: int = 0) -> NDArray[np.int64]:
        """(n,) int64, a copy: the `last` ids of prompt and output (0: all), the latest at the end."""
        import numpy as np

        return np.frombuffer(self._ids[-last:] if last else self._ids[:], dtype=np.int64)

    def seen(self, last: int, scope: str) -> tuple[Tensor, Tensor]:
        """(m,) the distinct ids of a window, ascending, and (m,) how often each stands in it, both int64.

        The window is the `last` ids (0: all) of "prompt+output" or of "output".
        """
        import numpy as np
        import torch

        start = self.prompt_length if scope == "output" else 0
        if last:
            start = max(start, len(self._ids) - last)
        window = np.frombuffer(self._ids[start:], dtype=np.int64)
        window.sort()
        # np.unique does the same in twice the time, which is that of its small calls
        ends = np.empty(len(window), bool)
        ends[-1:] = True
        np.not_equal(window[1:], window[:-1], out=ends[:-1])
        last_places = ends.nonzero()[0]
        times = last_places + 1
        times[1:] -= times[:-1].copy()
        return torch.from_numpy(window[last_places]), torch.from_numpy(times)


def reweigh(
    candidates: Candidates, memories: Sequence[Memory], last: int, scope: str, rule: Callable[[Tensor, Tensor], Tensor]
) -> Candidates:
    """The candidates with the logits of already-seen tokens changed: rule(logits (m,), counts (m,)) -> logits (m,)."""
    logits = candidates.logits.clone()
    for at, (row, memory) in enumerate(zip(logits.unbind(), memories, strict=True)):
        ids, times = memory.seen(last, scope)
        columns, present = candidates.columns(at, ids)
        if len(columns) < len(ids):
            times = times[present]
        row.index_copy_(0, columns, rule(row.index_select(0, columns), times.to(logits.dtype)))
    return candidates.with_logits(logits)
