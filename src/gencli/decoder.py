"""A model and its cache: prefill, step, rewind, keep. Knows no sampling and no text.

Where a sequence outgrows the context and may slide, its window is a function of its length alone: the
newest half when it overflows, growing from there. So a cache never decides what the model sees. Of a model
whose rotary angles depend on the length, it is filled anew where they change.
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
    """The rows of a batch, each of its own length, growing a token at a time. Logits come in the processor's memory.

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
        self._room = room
        self._limit = room if overflow == "slide" else self._capacity
        self._ids: list[list[int]] = []
        self._cache: KVCache | None = None
        self._cached = cache
        self._horizon = model.horizon

    @property
    def rows(self) -> int:
        return len(self._ids)

    @property
    def length(self) -> int:
        """Tokens of the longest row since the start, prompt included; beyond the context when the window slides."""
        return max(map(len, self._ids), default=0)

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
        # a room that was asked for will be used; a context mostly not
        self._cache = KVCache.of(self.model, 1, self._capacity, large_pages=self._room is not None) if self._cached else None
        logits = self._compute(interrupted)
        if logits is None:
            return None
        self.fork(rows)
        return logits.repeat(rows, 1)

    @torch.inference_mode()
    def join(self, ids: Sequence[int]) -> Tensor:
        """One more row, with a prompt of its own, beside those there are: logits (1, vocabulary) after its last token.

        Raises what `prefill` raises.
        """
        other = Decoder(self.model, cache=self._cached, overflow=self.overflow, room=self._room)
        logits = other.prefill(ids)
        assert logits is not None  # nothing asked to interrupt it
        self._ids += other._ids
        if self._cache is not None and other._cache is not None:
            self._cache = self._cache.join(other._cache)
        return logits

    @torch.inference_mode()
    def step(self, ids: Sequence[int]) -> Tensor:
        """Append one token a row: logits (rows, vocabulary) of what follows.

        Raises `UsageError` beyond the context or the room, where the window may not slide.
        """
        if len(ids) != len(self._ids):
            raise UsageError(f"a step takes one token a row: {len(self._ids)}, not {len(ids)}.")
        self._check(self.length + 1)
        for number, (row, token) in enumerate(zip(self._ids, ids, strict=True)):
            row.append(token)
            if self._cache is not None and self._view(len(row)) != self._view(len(row) - 1):
                self._cache.rewind(0, number)
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
        cache = KVCache.of(self.model, 1, min(len(ids), self.context), large_pages=True)
        size = max(1, min(CHUNK, MOST_LOGITS // self.model.vocab_size))
        while first < len(ids):
            start = self._start(first + 1)
            seen = self._horizon(first + 1 - start) if self._horizon else self.context
            end = min(len(ids), start + min(self.context, seen))
            cache.rewind(0)
            for at in range(start, end, size):
                chunk = torch.tensor([ids[at : min(at + size, end)]], dtype=torch.int64, device=self.model.device)
                told = at + chunk.shape[1] > first  # what lies before only fills the cache
                logits = self._ask(chunk, cache, end - start, last=not told)
                if told:
                    yield logits[0, max(0, first - at) :]
            first = end

    def rewind(self, length: int, row: int | None = None) -> None:
        """Forget the tokens at `length` and after it, in one row or in all. The next `step` goes on from there."""
        for number in range(self.rows) if row is None else (row,):
            ids = self._ids[number]
            if not 0 <= length <= len(ids):
                raise UsageError(f"a sequence of {len(ids)} tokens cannot be rewound to {length}.")
            moved = self._view(length) != self._view(len(ids))
            del ids[length:]
            if self._cache is not None:
                # a window that began elsewhere has other positions or angles: the next step fills the cache again
                cached = int(self._cache.lengths[number])
                self._cache.rewind(0 if moved else min(cached, length - self._start(length)), number)

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order; the place of the others is free."""
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

    def _view(self, length: int) -> tuple[int, int]:
        """What the keys of a sequence of this length depend on: where its window begins, and by which angles it turns."""
        start = self._start(length)
        return start, self._horizon(length - start) if self._horizon else 0

    def _ask(self, ids: Tensor, cache: KVCache, length: int | None, last: bool) -> Tensor:
        """The model's logits for a part of a window of this length; None: the ids end it, in each row."""
        if self._horizon is None or length is None:
            return self.model(ids, cache, last=last).cpu()
        return self.model(ids, cache, last=last, horizon=self._horizon(length)).cpu()

    def _compute(self, interrupted: Callable[[], bool] | None = None) -> Tensor | None:
        """Logits (rows, vocabulary) after the last token, computing what the cache does not hold yet."""
        windows = [row[self._start(len(row)) :] for row in self._ids]
        if self._cache is None:
            if len({len(window) for window in windows}) == 1:
                return self.model(self._tensor(windows), None, last=True)[:, -1].cpu()
            return torch.cat([self.model(self._tensor([window]), None, last=True)[:, -1] for window in windows]).cpu()
        pending = [window[cached:] for window, cached in zip(windows, self._cache.lengths.tolist(), strict=True)]
        if not self._cache.even or len({len(tokens) for tokens in pending}) > 1:
            for number, tokens in enumerate(pending):  # a row that lags behind is brought to its last token
                if len(tokens) > 1:
                    self._fill([tokens[:-1]], self._cache.row(number), len(windows[number]), None)
            return self._fill([tokens[-1:] for tokens in pending], self._cache, None, interrupted)
        return self._fill(pending, self._cache, len(windows[0]), interrupted)

    def _fill(self, tokens: list[list[int]], cache: KVCache, length: int | None, interrupted: Callable[[], bool] | None) -> Tensor | None:
        """Logits (rows, vocabulary) after as many tokens a row, a chunk at a time; the cache takes them in. `length` is the windows'."""
        logits = None
        for chunk in torch.split(self._tensor(tokens), CHUNK, dim=1):
            if interrupted is not None and interrupted():
                return None
            logits = self._ask(chunk, cache, length, last=True)[:, -1]
        return logits

    def _tensor(self, tokens: list[list[int]]) -> Tensor:
        return torch.tensor(tokens, dtype=torch.int64, device=self.model.device)
