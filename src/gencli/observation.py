"""What a traced step says in plain numbers: tensors in, `Candidate` and `StageReport` values out.

The only place where the pipeline's tensors become events. It observes; it never takes another path.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gencli.candidates import Candidates
from gencli.events import Candidate, Logits, StageReport
from gencli.memory import Memory
from gencli.pipeline import Pipeline
from gencli.vocabulary import Vocabulary

BITS = 1 / math.log(2)  # nats to bits
UNSURE = 1e-20  # a smaller probability in float32 has lost digits
SMALL = 4096  # logits: so few are summed in float64 as quickly
FEW = 16  # of so many logits one: changes that are cheaper followed than summed anew
SAMPLED = 64  # one of so many logits tells about where the likeliest begin
RECORDED = 256  # of the likeliest tokens' logits go into a trace, whatever survived
SPARE = 64  # more are looked for, among which the likeliest that is not recorded should be


@dataclass(frozen=True)
class Detail:
    """How much a run tells of each step.

    `candidates` are the likeliest under the raw model (None: all of them), the drawn one always
    among them; `because` adds the numbers that removed a token, `after` its probability after each
    stage; `logits` adds what a replay needs. `wanted` is asked before every step: a screen needs
    detail only for the frames it draws.
    """

    candidates: int | None = 10
    because: bool = True
    after: bool = False
    logits: bool = False
    wanted: Callable[[], bool] = field(default=lambda: True)


class _View:
    """One row of one point of the pipeline: `ids` (n,) ascending, None for the whole vocabulary; `logits` (n,) without removed tokens.

    `mean` is the mean logit and `raw_mean` the mean raw logit under this point's distribution: entropy and KL follow from them.
    """

    def __init__(self, candidates: Candidates, row: int, before: _View | None = None, raw: _View | None = None) -> None:
        self.logits = _row(candidates.logits, row)
        self.ids = None if candidates.ids is None else _row(candidates.ids, row)
        self.probs: NDArray[Any] | None = None
        self.raw_mass: float = 1.0 if before is None else before.raw_mass
        if before is None or raw is None or not self._follow(before, raw):
            self._sum(raw)
        self.entropy = max(0.0, self.log_total - self.mean) * BITS
        self.kl = 0.0 if raw is None else max(0.0, (raw.log_total - self.raw_mean) * BITS - self.entropy)

    def _sum(self, raw: _View | None) -> None:
        """The means from scratch, without what was removed."""
        self._normalise()
        if math.isnan(self.mean):  # a removed token: its probability 0 times its logit
            left = np.flatnonzero(self.logits > -math.inf)
            self.ids, self.logits, self.probs = left if self.ids is None else self.ids[left], self.logits[left], None
            self._normalise()
        self.kept, self.raw_mean = len(self.logits), self.mean
        if raw is not None:
            raw_logits = raw.logits if self.ids is None else raw.logits[self.ids if raw.ids is None else raw.ids.searchsorted(self.ids)]
            self.raw_mean = float(self.probs @ raw_logits)
            if self.kept < raw.kept:
                self.raw_mass = float(np.exp(raw_logits - raw.log_total).sum(dtype=np.float64))

    def _normalise(self) -> None:
        if len(self.logits) > SMALL:
            self.probs = torch.from_numpy(self.logits).softmax(0).numpy()
            some = int(self.probs[:SMALL].argmax())  # any token whose probability is no tiny number tells the normaliser
            if self.probs[some] < UNSURE:
                some = int(self.probs.argmax())
            self.log_total = float(self.logits[some]) - math.log(float(self.probs[some]))
        else:
            logits = self.logits.astype(np.float64)
            peak = float(logits.max())
            weights = np.exp(logits - peak)
            total = float(weights.sum())
            self.probs, self.log_total = weights / total, peak + math.log(total)
        self.mean = float(self.probs @ self.logits)

    def _follow(self, before: _View, raw: _View) -> bool:
        """The means from those of the point before, where the stage changed few logits and removed none; answers whether it did."""
        if self.ids is not None or before.ids is not None or raw.ids is not None or _many(self.logits, before.logits):
            return False
        changed = np.flatnonzero(self.logits != before.logits)
        if len(changed) > len(self.logits) // FEW:
            return False
        then, now, start = np.array([before.logits[changed], self.logits[changed], raw.logits[changed]], dtype=np.float64)
        old, new = np.exp(then - before.log_total), np.exp(now - before.log_total)
        total = 1.0 + float(new.sum() - old.sum())
        if not 1 / FEW < total < FEW or not now.min(initial=0) > -math.inf:
            return False  # a logit may be raised without measure, and what is left over from large numbers is their rounding
        self.kept, self.log_total = before.kept, before.log_total + math.log(total)
        self.mean = (before.mean + float(new @ now - old @ then)) / total
        self.raw_mean = (before.raw_mean + float((new - old) @ start)) / total
        return True

    def lookup(self, wanted: NDArray[Any]) -> NDArray[Any]:
        """(m,) float64 log-probabilities of these ids; -inf where a token is gone."""
        if self.ids is None:
            found: NDArray[Any] = self.logits[wanted].astype(np.float64) - self.log_total
            return found
        at = self.ids.searchsorted(wanted).clip(max=self.kept - 1)
        return np.where(self.ids[at] == wanted, self.logits[at].astype(np.float64) - self.log_total, -math.inf)

    def likeliest(self, count: int | None) -> NDArray[Any]:
        """The ids of the `count` likeliest (None: all), likeliest first."""
        if count == 0:
            return np.empty(0, dtype=np.int64)
        at: NDArray[Any] = np.arange(0)
        if count is not None and SAMPLED * count // 4 < self.kept:
            # of every 64th logit one that so many come before that the wanted should lie above it
            some = 2 * count // SAMPLED + 4
            at = np.flatnonzero(self.logits >= np.partition(self.logits[::SAMPLED], -some)[-some])
        if len(at) < (self.kept if count is None else min(count, self.kept)):
            at = np.arange(self.kept)
        at = at[np.argsort(-self.logits[at], kind="stable" if count is None else None)[:count]]
        return at if self.ids is None else self.ids[at]

    def rank(self, token: int, likeliest: NDArray[Any]) -> int:
        """1-based: how many of the whole vocabulary are likelier than a token, plus one; `likeliest` may already tell."""
        logit = self.logits[token] if self.ids is None else self.logits[self.ids.searchsorted(token)]
        if self.ids is None and len(likeliest) and logit > self.logits[likeliest[-1]]:
            return 1 + int(np.count_nonzero(self.logits[likeliest] > logit))
        return 1 + int(np.count_nonzero(self.logits > logit))


def _many(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two points seem to differ in many logits."""
    some = one[::SAMPLED] != other[::SAMPLED]
    return int(np.count_nonzero(some)) > len(some) // FEW


def observe(
    passed: Sequence[Candidates],
    row: int,
    drawn: int,
    pipeline: Pipeline,
    vocabulary: Vocabulary,
    detail: Detail,
    memory: Memory | None = None,
) -> dict[str, Any]:
    """The measures of a `Token` event: what was in play in this row, before and after every stage.

    `passed` holds the candidates before the first stage and after each one; `memory` is this row's,
    and is asked for where `detail` wants logits.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # where a token is removed or raised without measure
        raw, views, reports = _seen(passed, row, pipeline)
    likeliest = raw.likeliest(_wanted(detail))
    shown = likeliest[: detail.candidates]
    if drawn not in shown:
        shown = np.append(shown, drawn)
    table = [view.lookup(shown) for view in views]
    lines = dict(zip(shown.tolist(), np.array(table).T.tolist(), strict=True))
    candidates = tuple(_candidate(token, line, passed, row, pipeline, vocabulary, detail) for token, line in lines.items())
    recorded = {}
    if memory is not None and detail.logits:
        known = np.concatenate([shown, memory.ids, list(vocabulary.end_ids)]).astype(np.int64)
        recorded = {"logits": _recorded(passed, row, raw, likeliest, known)}
        if head := pipeline.head:
            guided = _recorded(passed[head:], row, views[head], views[head].likeliest(_wanted(detail)), known)
            recorded = {"logits": replace(recorded["logits"], guided=guided)}
    return {
        "logprob": min(0.0, lines[drawn][-1]),
        "raw_logprob": min(0.0, lines[drawn][0]),
        "rank": raw.rank(drawn, likeliest),
        "entropy": views[-1].entropy,
        "raw_entropy": raw.entropy,
        "candidates": candidates,
        "stages": reports,
        **recorded,
    }


def _seen(passed: Sequence[Candidates], row: int, pipeline: Pipeline) -> tuple[_View, list[_View], tuple[StageReport, ...]]:
    """The first point, all of them, and what each stage did."""
    raw = _View(passed[0], row)
    views, reports = [raw], []
    for at, name in enumerate(pipeline.names):
        same = passed[at + 1] is passed[at]
        view = views[-1] if same else _View(passed[at + 1], row, views[-1], raw)
        # both sums carry rounding: where nothing went, nothing was removed
        removed = max(0.0, views[-1].raw_mass - view.raw_mass) if view.kept < views[-1].kept else 0.0
        reports.append(StageReport(name, at, view.kept, removed, view.entropy, view.kl))
        views.append(view)
    return raw, views, tuple(reports)


def _wanted(detail: Detail) -> int | None:
    """How many of the likeliest tokens are looked for."""
    if detail.candidates is None or not detail.logits:
        return detail.candidates
    return max(detail.candidates, RECORDED) + SPARE


def _recorded(passed: Sequence[Candidates], row: int, view: _View, likeliest: NDArray[Any], known: NDArray[Any]) -> Logits:
    """What a replay needs of this row: the logits of the survivors, of the likeliest and of the `known` ids."""
    raw, final, same = _row(passed[0].logits, row), passed[-1], passed[-1] is passed[0]
    ended = _row(final.logits, row)
    kept = ended > -math.inf
    left = np.flatnonzero(kept) if final.ids is None else _row(final.ids, row)[kept]
    every = left
    if len(left) < len(raw):
        every = np.sort(np.concatenate([left, likeliest[:RECORDED], known]))
        every = every[np.append(True, every[1:] != every[:-1])]
    if len(every) > len(raw) // 2:  # all logits alone are no longer than half of them with their ids
        return Logits(len(raw), b"", _packed(raw), b"" if same else _packed(_row(final.spread(len(raw)), row)), view.log_total, None)
    survived = np.full(len(every), -math.inf, dtype=np.float32)
    survived[every.searchsorted(left)] = ended[kept]
    highest = _highest(raw, every, likeliest[RECORDED:])
    return Logits(
        size=len(raw),
        ids=every.astype("<i4").tobytes(),
        raw=_packed(raw[every]),
        final=b"" if same else _packed(survived),
        log_total=view.log_total,
        highest=None if highest == -math.inf else highest,
    )


def _highest(raw: NDArray[Any], recorded: NDArray[Any], next_ones: NDArray[Any]) -> float:
    """The largest logit that is not recorded; `next_ones` are the ids that come after the likeliest."""
    others = next_ones[recorded[recorded.searchsorted(next_ones).clip(max=len(recorded) - 1)] != next_ones]
    if len(others):
        return float(raw[others[0]])
    rest = raw.copy()
    rest[recorded] = -math.inf
    return float(rest.max())


def _packed(values: NDArray[Any]) -> bytes:
    return values.astype("<f4", copy=False).tobytes()


def _row(values: Tensor, row: int) -> NDArray[Any]:
    """One row for numpy, whose small operations cost a fraction of torch's."""
    found: NDArray[Any] = values.numpy()[row]
    return found


def _candidate(
    token: int, line: Sequence[float], passed: Sequence[Candidates], row: int, pipeline: Pipeline, vocabulary: Vocabulary, detail: Detail
) -> Candidate:
    """One listed token: `line` holds its log-probability before the first stage and after each."""
    gone = next((at for at, value in enumerate(line[1:]) if value == -math.inf), None)
    because = None
    if gone is not None and detail.because:
        explain = getattr(pipeline.stages[gone], "because", None)
        because = explain(passed[gone], row, token) if explain else None
    return Candidate(
        id=token,
        text=vocabulary.text(token),
        raw_prob=math.exp(line[0]),
        prob=math.exp(line[-1]),
        removed_by=None if gone is None else pipeline.names[gone],
        removed_at=gone,
        because=because,
        after=tuple(math.exp(value) for value in line[1:]) if detail.after else None,
    )
