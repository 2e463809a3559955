"""What is still in play: logits, token ids and the exact normaliser. Knows no stage, memory or text.

Candidates shrink: a filter hands on fewer of them, so everything after it is cheap. They always stand
in ascending token id; a row with fewer survivors than its neighbours is padded with -inf at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Candidates:
    """`logits` (rows, n) float, in the processor's memory; `ids` (rows, n) int64, or None for the whole vocabulary in order.

    A logit of -inf is a removed token. Nothing here changes a tensor that was handed in. A division of all
    logits waits until somebody asks for them: most are removed before that.
    """

    __slots__ = ("_divided", "_divisor", "_peak", "_total", "_undivided", "_weights", "ids")

    def __init__(self, logits: Tensor, ids: Tensor | None = None, divisor: float = 1.0) -> None:
        self._undivided = logits
        self._divisor = divisor
        self._divided = logits if divisor == 1 else None
        self.ids = ids
        self._peak: Tensor | None = None
        self._weights: Tensor | None = None
        self._total: Tensor | None = None

    @property
    def logits(self) -> Tensor:
        """(rows, n) float."""
        if self._divided is None:
            self._divided = self._undivided / self._divisor
        return self._divided

    @property
    def rows(self) -> int:
        return self._undivided.shape[0]

    @property
    def width(self) -> int:
        """Columns: the largest number of candidates any row may still have."""
        return self._undivided.shape[1]

    @property
    def peak(self) -> Tensor:
        """(rows, 1) the largest logit of each row."""
        if self._peak is None:
            largest = self._undivided.amax(dim=1, keepdim=True)
            self._peak = largest if self._divisor == 1 else largest / self._divisor
        return self._peak

    @property
    def weights(self) -> Tensor:
        """(rows, n) exp(logit - peak): the probabilities, not yet divided by their sum; the largest is 1."""
        if self._weights is None:
            if self._divisor == 1:
                self._weights = (self._undivided - self.peak).exp_()
            else:
                self._weights = (self._undivided / self._divisor).sub_(self.peak).exp_()
        return self._weights

    @property
    def total(self) -> Tensor:
        """(rows, 1) float64: the sum of the weights, the exact normaliser."""
        if self._total is None:
            self._total = self.weights.sum(dim=1, keepdim=True, dtype=torch.float64)
        return self._total

    @property
    def log_total(self) -> Tensor:
        """(rows, 1) float64: logsumexp of the candidates in play."""
        return self.peak.double() + self.total.log()

    @property
    def entropy(self) -> Tensor:
        """(rows, 1) float64: the entropy of the candidates in play, in nats."""
        surprise = torch.special.entr(self.weights).sum(dim=1, keepdim=True, dtype=torch.float64)
        entropy: Tensor = self.total.log() + surprise / self.total
        return entropy.clamp_(min=0.0)

    def probs(self) -> Tensor:
        """(rows, n) float64 probabilities; a row sums to 1."""
        return self.weights.double() / self.total

    def kept(self) -> Tensor:
        """(rows,) how many candidates are left."""
        return (self.logits > -torch.inf).sum(dim=1)

    def token_ids(self) -> Tensor:
        """(rows, n) int64 token ids; padding repeats a row's last one."""
        if self.ids is not None:
            return self.ids
        return torch.arange(self.width).expand(self.rows, -1)

    def columns(self, row: int, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Where tokens stand in a row: the columns of those in play, and a mask (m,) of which those are."""
        wanted = array(token_ids)
        if self.ids is None:
            at, present = wanted, wanted < self.width
        else:
            ids = array(self.ids[row])
            at = np.searchsorted(ids, wanted).clip(max=self.width - 1)
            present = ids[at] == wanted
        return torch.from_numpy(at[present]), torch.from_numpy(present)

    def with_logits(self, logits: Tensor) -> Candidates:
        """The same candidates under other logits of the same shape."""
        return Candidates(logits, self.ids)

    def divided(self, divisor: float) -> Candidates:
        """The same candidates with all logits divided by a number above 0."""
        return Candidates(self.logits, self.ids, divisor)

    def without(self, token_ids: Iterable[int], rows: Iterable[int] | None = None) -> Candidates:
        """Some rows (all where None) without those tokens; a row that would be left empty stays as it was."""
        banned = torch.tensor(list(token_ids), dtype=torch.int64)
        return self.without_each(dict.fromkeys(range(self.rows) if rows is None else rows, banned))

    def without_each(self, banned: Mapping[int, Tensor]) -> Candidates:
        """Each named row without its own tokens (m,) int64; a row that would be left empty stays as it was."""
        logits = self.logits.clone()
        for row, token_ids in banned.items():
            logits[row, self.columns(row, token_ids)[0]] = -torch.inf
            if not float(logits[row].amax()) > -torch.inf:
                logits[row] = self.logits[row]
        return self.with_logits(logits)

    def at_least(self, borders: Sequence[float]) -> Candidates:
        """Only the candidates whose logit is at least its row's border; a row that would be left empty stays as it was."""
        return self.select([places(row, border) for row, border in zip(self.logits.unbind(), borders, strict=True)], peak_stays=True)

    def select(self, columns: Sequence[Tensor], peak_stays: bool = False) -> Candidates:
        """Only the given columns, ascending, of each row, closed up; a row where there are none stays as it was.

        Whoever knows that each row's likeliest token is among them says so: its weights need no computing again.
        """
        sizes = [row.numel() or self.width for row in columns]
        if min(sizes) == self.width:
            return self
        if self.rows == 1:
            return self._select_alone(columns[0], peak_stays)
        logits = self.logits.new_full((self.rows, max(sizes)), -torch.inf)
        ids = torch.empty_like(logits, dtype=torch.int64)
        for row, (size, at) in enumerate(zip(sizes, columns, strict=True)):
            if not at.numel():
                at = torch.arange(self.width)
            chosen = at if self.ids is None else self.ids[row, at]
            logits[row, :size] = self.logits[row, at]
            ids[row, :size] = chosen
            ids[row, size:] = chosen[-1]
        return Candidates(logits, ids)

    def _select_alone(self, at: Tensor, peak_stays: bool) -> Candidates:
        ids = at[None] if self.ids is None else self.ids.index_select(1, at)
        chosen = Candidates(self._undivided.index_select(1, at), ids, self._divisor)
        if peak_stays and self._weights is not None:
            chosen._peak, chosen._weights = self._peak, self._weights.index_select(1, at)
        return chosen

    def top(self, k: int) -> Candidates:
        """Exactly the k likeliest, the lowest ids first among ties; all where k reaches their number."""
        if k >= self.width:
            return self
        best, columns = self.logits.topk(k + 1, dim=1)
        chosen = []
        for row, (last, next_one) in enumerate(best[:, -2:].tolist()):
            if last > next_one:
                chosen.append(columns[row, :k].sort().values)
            else:  # a tie across the border, which topk decides in any way it likes
                chosen.append(self._top_among_ties(row, k, last))
        return self.select(chosen, peak_stays=True)

    def _top_among_ties(self, row: int, k: int, border: float) -> Tensor:
        above = (~(self.logits[row] <= border)).nonzero()[:, 0]  # NaN with them, for the draw to tell
        ties = (self.logits[row] == border).nonzero()[:, 0] if border > -torch.inf else above[:0]
        return torch.cat([above, ties[: k - above.numel()]]).sort().values

    def spread(self, size: int) -> Tensor:
        """(rows, size) logits over the whole vocabulary, -inf where a token was removed."""
        if self.ids is None:
            return self.logits
        # padding carries -inf and shares its id with a real candidate, hence the maximum
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
        return 1 + int(self._before(row, token_id).sum())

    def mass_above(self, row: int, token_id: int) -> float:
        """The probability of all tokens that come before this one."""
        return float(self.weights[row][self._before(row, token_id)].sum(dtype=torch.float64) / self.total[row, 0])

    def _before(self, row: int, token_id: int) -> Tensor:
        logit, logits = self.logit(row, token_id), self.logits[row]
        return (logits > logit) | ((logits == logit) & (self.token_ids()[row] < token_id))


def array(values: Tensor) -> NDArray[Any]:
    """The same numbers for numpy, whose small operations cost a fraction of torch's."""
    found: NDArray[Any] = values.detach().numpy() if values.requires_grad else values.numpy()
    return found


def places(values: Tensor, low: float) -> Tensor:
    """The indices, ascending, of the values (n,) of at least `low`."""
    # numpy finds a few among many several times faster than torch does
    return torch.from_numpy((array(values) >= low).nonzero()[0])
