"""A model and its cache: prefill, step, rewind, keep. Knows no sampling and no text.

Where a sequence outgrows the context and may slide, its window is a function of its length alone: the
newest half when it overflows, growing from there. So a cache never decides what the model sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from gencli.cache import KVCache
from gencli.errors import UsageError, unknown
from gencli.models import Model

OVERFLOWS = ("error", "slide")
CHUNK = 512  # positions a forward pass: bounds its memory, and how long an interrupt waits
MOST_LOGITS = 1 << 23  # numbers that one part of `follow` may hold: 32 MiB


class Decoder:
    """The rows of a batch, all of one length, growing a token at a time.

    With `cache` False every step computes the whole window again, for the same tokens. `overflow`
    says what happens beyond the context: "error", or "slide" (the newest half stays). `room` bounds
    the length for which memory is set aside (None: the context).
    """

    def __init__(self, model: Model, *, cache: bool = True, overflow: str = "error", room: int | None = None) -> None:
        if overflow not in OVERFLOWS:
            raise unknown("overflow", overflow, OVERFLOWS)
        if room is not None and room < 1:
            raise UsageError(f"room must be at least 1, not {room}.")
        self.model = model
        self.context = model.context
        self.overflow = overflow
        self._capacity = min(self.context, room or self.context)
        self._limit = room if overflow == "slide" else self._capacity
        self._ids: list[list[int]] = []
        self._cache: KVCache | None = None
        self._cached = cache

    @property
    def rows(self) -> int:
        return len(self._ids)

    @property
    def length(self) -> int:
        """Tokens a row since the start, prompt included; beyond the context when the window slides."""
        return len(self._ids[0]) if self._ids else 0

    @property
    def full(self) -> bool:
        """Whether another step would be refused."""
        return self.overflow == "error" and self.length >= self.context

    @property
    def nbytes(self) -> int:
        """Bytes of the KV cache; 0 without one."""
        return self._cache.nbytes if self._cache else 0

    @torch.inference_mode()
    def prefill(self, ids: Sequence[int], rows: int = 1, interrupted: Callable[[], bool] | None = None) -> Tensor | None:
        """Start anew with a prompt: logits (rows, vocabulary) after its last token, the same in each row.

        The prompt is computed once, whatever the number of rows. None where `interrupted` (asked
        between chunks) says so. Raises `UsageError` for an empty prompt, or one beyond the context
        that may not slide.
        """
        if not ids:
            raise UsageError("the prompt holds no token.")
        if min(ids) < 0 or max(ids) >= self.model.vocab_size:
            raise UsageError(f"a token id lies outside of 0 .. {self.model.vocab_size - 1}.")
        self._check(len(ids))
        self._ids = [list(ids)]
        self._cache = KVCache.of(self.model, 1, self._capacity) if self._cached else None
        logits = self._compute(interrupted)
        if logits is None:
            return None
        self.fork(rows)
        return logits.repeat(rows, 1)

    @torch.inference_mode()
    def step(self, ids: Sequence[int]) -> Tensor:
        """Append one token a row: logits (rows, vocabulary) of what follows.

        Raises `UsageError` beyond the context or the room, where the window may not slide.
        """
        if len(ids) != len(self._ids):
            raise UsageError(f"a step takes one token a row: {len(self._ids)}, not {len(ids)}.")
        self._check(self.length + 1)
        before = self._start(self.length)
        for row, token in zip(self._ids, ids, strict=True):
            row.append(token)
        if self._cache is not None and self._start(self.length) != before:
            self._cache.rewind(0)
        logits = self._compute()
        assert logits is not None  # nothing asked to interrupt it
        return logits

    @torch.inference_mode()
    def follow(self, ids: Sequence[int], first: int = 0) -> Iterator[Tensor]:
        """Along a given text: logits (T, vocabulary) of what follows each of `ids[first:]`, in order, some T at a time.

        The rows under way stay as they are. A text beyond the context is seen through the windows in which
        `step` would see it. Raises `UsageError` where it is too long and may not slide.
        """
        self._check(len(ids))
        cache = KVCache.of(self.model, 1, min(len(ids), self.context))
        size = max(1, min(CHUNK, MOST_LOGITS // self.model.vocab_size))
        while first < len(ids):
            start = self._start(first + 1)
            end = min(len(ids), start + self.context)
            cache.rewind(0)
            for at in range(start, end, size):
                chunk = torch.tensor([ids[at : min(at + size, end)]], dtype=torch.int64, device=self.model.device)
                told = at + chunk.shape[1] > first  # what lies before only fills the cache
                logits = self.model(chunk, cache, last=not told)
                if told:
                    yield logits[0, max(0, first - at) :]
            first = end

    def rewind(self, length: int) -> None:
        """Forget the tokens at `length` and after it; at least one must stay. The next `step` goes on from there."""
        if not 1 <= length <= self.length:
            raise UsageError(f"a sequence of {self.length} tokens cannot be rewound to {length}.")
        moved = self._start(length) != self._start(self.length)
        for row in self._ids:
            del row[length:]
        if self._cache is not None:
            # a window that began elsewhere has other positions: the next step fills the cache again
            self._cache.rewind(0 if moved else min(self._cache.length, length - self._start(length)))

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order; the memory of the others is freed."""
        if not rows or not all(0 <= row < self.rows for row in rows):
            raise UsageError(f"of {self.rows} rows, {list(rows)} cannot be kept.")
        if list(rows) == list(range(self.rows)):
            return
        self._ids = [list(self._ids[row]) for row in rows]
        if self._cache is not None:
            self._cache = self._cache.keep(rows)

    def fork(self, rows: int) -> None:
        """Go on with `rows` copies of the only row."""
        self.keep([0] * rows)

    def _check(self, length: int) -> None:
        if self._limit is not None and length > self._limit:
            holder = "the context" if self._limit == self.context else "the room set aside"
            raise UsageError(f"{length} tokens do not fit: {holder} is {self._limit} positions.")

    def _start(self, length: int) -> int:
        """Where the window of a sequence of this length begins."""
        if length <= self.context:
            return 0
        half = max(1, self.context // 2)
        return length - half - (length - self.context - 1) % (self.context - half + 1)

    def _compute(self, interrupted: Callable[[], bool] | None = None) -> Tensor | None:
        """Logits (rows, vocabulary) after the last token, computing what the cache does not hold yet."""
        start = self._start(self.length)
        cached = self._cache.length if self._cache is not None else 0
        window = torch.tensor([row[start + cached :] for row in self._ids], dtype=torch.int64, device=self.model.device)
        if self._cache is None:
            return self.model(window, None, last=True)[:, -1]
        logits = None
        for chunk in torch.split(window, CHUNK, dim=1):
            if interrupted is not None and interrupted():
                return None
            logits = self.model(chunk, self._cache, last=True)[:, -1]
        return logits
