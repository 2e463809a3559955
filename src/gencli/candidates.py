"""What is still in play: logits, token ids and the exact normaliser. Knows no stage, memory or text.

Candidates shrink: a filter hands on fewer of them, so everything after it is cheap. They always stand
in ascending token id; a row with fewer survivors than its neighbours is padded with -inf at the end.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Candidates:
    """`logits` (rows, n) float; `ids` (rows, n) int64, or None for the whole vocabulary in order.

    A logit of -inf is a removed token. Nothing here changes a tensor that was handed in.
    """

    __slots__ = ("_peak", "_total", "ids", "logits")

    def __init__(self, logits: Tensor, ids: Tensor | None = None) -> None:
        self.logits = logits
        self.ids = ids
        self._peak: Tensor | None = None
        self._total: Tensor | None = None

    @property
    def rows(self) -> int:
        return self.logits.shape[0]

    @property
    def width(self) -> int:
        """Columns: the largest number of candidates any row may still have."""
        return self.logits.shape[1]

    @property
    def peak(self) -> Tensor:
        """(rows, 1) the largest logit of each row."""
        if self._peak is None:
            self._peak = self.logits.amax(dim=1, keepdim=True)
        return self._peak

    @property
    def total(self) -> Tensor:
        """(rows, 1) float64: the sum of exp(logit - peak), the exact normaliser."""
        if self._total is None:
            self._total = (self.logits - self.peak).exp_().sum(dim=1, keepdim=True, dtype=torch.float64)
        return self._total

    @property
    def log_total(self) -> Tensor:
        """(rows, 1) float64: logsumexp of the candidates in play."""
        return self.peak.double() + self.total.log()

    def probs(self) -> Tensor:
        """(rows, n) float64 probabilities; a row sums to 1."""
        return (self.logits - self.peak).exp().double() / self.total

    def kept(self) -> Tensor:
        """(rows,) how many candidates are left."""
        return (self.logits > -torch.inf).sum(dim=1)

    def token_ids(self) -> Tensor:
        """(rows, n) int64 token ids; those of padding mean nothing."""
        if self.ids is not None:
            return self.ids
        return torch.arange(self.width, device=self.logits.device).expand(self.rows, -1)

    def with_logits(self, logits: Tensor) -> Candidates:
        """The same candidates under other logits of the same shape."""
        return Candidates(logits, self.ids)

    def keep(self, mask: Tensor) -> Candidates:
        """Only the candidates where `mask` (rows, n) is true, closed up and padded at the end."""
        mask = mask & (self.logits > -torch.inf)
        if self.rows == 1:
            at = mask[0].nonzero()[:, 0]
            if at.numel() == self.width:
                return self
            ids = at if self.ids is None else self.ids[0, at]
            return Candidates(self.logits[:, at], ids[None])
        place = mask.cumsum(dim=1)
        width = int(place[:, -1].max())
        if width == self.width:
            return self if bool(mask.all()) else Candidates(self.logits.masked_fill(~mask, -torch.inf), self.ids)
        row, column = mask.nonzero(as_tuple=True)
        to = place[row, column] - 1
        logits = self.logits.new_full((self.rows, width), -torch.inf)
        logits[row, to] = self.logits[row, column]
        ids = torch.zeros((self.rows, width), dtype=torch.int64, device=self.logits.device)
        ids[row, to] = self.token_ids()[row, column]
        return Candidates(logits, ids)

    def drop(self, mask: Tensor) -> Candidates:
        """Without the candidates where `mask` is true; a row that would be left empty stays as it was."""
        left = ~mask & (self.logits > -torch.inf)
        return self.keep(left | ~left.any(dim=1, keepdim=True))

    def keep_top(self, counts: Tensor, thresholds: Tensor) -> Candidates:
        """Exactly the `counts` (rows, 1) likeliest of each row, the lowest ids first among ties.

        `thresholds` (rows, 1) is the smallest logit that survives.
        """
        above = self.logits > thresholds
        ties = self.logits == thresholds
        room = counts - above.sum(dim=1, keepdim=True)
        if bool((ties.sum(dim=1, keepdim=True) > room).any()):
            ties &= ties.cumsum(dim=1) <= room
        return self.keep(above | ties)

    def top(self, k: int) -> Candidates:
        """Exactly the k likeliest; all where k reaches their number."""
        if k >= self.width:
            return self
        thresholds = self.logits.topk(k, dim=1).values[:, -1:]
        return self.keep_top(torch.full_like(thresholds, k, dtype=torch.int64), thresholds)

    def spread(self, size: int) -> Tensor:
        """(rows, size) logits over the whole vocabulary, -inf where a token was removed."""
        if self.ids is None:
            return self.logits
        # padding carries -inf and may share id 0 with a real candidate, hence the maximum
        full = self.logits.new_full((self.rows, size), -torch.inf)
        return full.scatter_reduce(1, self.ids, self.logits, "amax")

    def logit(self, row: int, token_id: int) -> float:
        """A token's logit in a row; -inf where it was removed."""
        if self.ids is None:
            return float(self.logits[row, token_id])
        at = (self.ids[row] == token_id) & (self.logits[row] > -torch.inf)
        return float(self.logits[row][at][0]) if bool(at.any()) else -torch.inf

    def probability(self, row: int, token_id: int) -> float:
        """A token's probability in a row; 0.0 where it was removed."""
        return math.exp(self.logit(row, token_id) - float(self.peak[row])) / float(self.total[row])

    def rank(self, row: int, token_id: int) -> int:
        """1-based: how many tokens come before this one, lower ids first among ties, plus one."""
        logit, logits = self.logit(row, token_id), self.logits[row]
        tied = (logits == logit) & (self.token_ids()[row] < token_id)
        return 1 + int((logits > logit).sum()) + int(tied.sum())

    def mass_above(self, row: int, token_id: int) -> float:
        """The probability of all tokens that come before this one."""
        logit, logits = self.logit(row, token_id), self.logits[row]
        before = (logits > logit) | ((logits == logit) & (self.token_ids()[row] < token_id))
        return float((logits[before] - self.peak[row]).exp().sum(dtype=torch.float64) / self.total[row, 0])
