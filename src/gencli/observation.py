"""What a traced step says in plain numbers: tensors in, `Candidate` and `StageReport` values out.

The only place where the pipeline's tensors become events. It observes; it never takes another path.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gencli.candidates import Candidates
from gencli.events import Candidate, Logits, StageReport
from gencli.memory import Memory
from gencli.pipeline import Pipeline
from gencli.vocabulary import Vocabulary

BITS = 1 / math.log(2)  # nats to bits
RECORDED = 256  # of the likeliest tokens' logits go into a trace, whatever survived


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
    """One row of one point of the pipeline, without what was removed: `ids` ascending, None for the whole vocabulary."""

    def __init__(self, candidates: Candidates, row: int, raw: _View | None = None) -> None:
        logits, weights = candidates.logits[row], candidates.weights[row]
        ids = None if candidates.ids is None else candidates.ids[row]
        if not float(logits.amin()) > -torch.inf:
            left = (logits > -torch.inf).nonzero()[:, 0]
            logits, weights, ids = logits[left], weights[left], left if ids is None else ids[left]
        self.ids, self.logits, self.kept = ids, logits, len(logits)
        self.log_total, total = float(candidates.log_total[row]), float(candidates.total[row])
        # each mean over the distribution is one product: -sum p log p = log_total - sum p logit
        self.entropy = max(0.0, self.log_total - float(weights.dot(logits)) / total) * BITS
        self.raw_mass, self.kl = 1.0, 0.0
        if raw is not None:
            raw_logits = raw.at(ids)
            if self.kept < raw.kept:
                self.raw_mass = float((raw_logits - raw.log_total).exp().sum(dtype=torch.float64))
            crossed = raw.log_total - float(weights.dot(raw_logits)) / total
            self.kl = max(0.0, crossed * BITS - self.entropy)

    def at(self, ids: Tensor | None) -> Tensor:
        """The logits of ids that are all in play here."""
        if ids is None:
            return self.logits
        return self.logits[ids if self.ids is None else torch.searchsorted(self.ids, ids)]

    def lookup(self, wanted: Tensor) -> list[float]:
        """The log-probabilities of these ids; -inf where a token is gone."""
        if self.ids is None:
            found = self.logits[wanted]
        else:
            at = torch.searchsorted(self.ids, wanted).clamp(max=self.kept - 1)
            found = self.logits[at].where(self.ids[at] == wanted, -torch.inf)
        return [float(value) for value in (found - self.log_total).tolist()]

    def likeliest(self, count: int | None) -> Tensor:
        """The ids of the `count` likeliest (None: all), likeliest first."""
        few = count is not None and count < self.kept
        at = self.logits.topk(count or 0).indices if few else self.logits.argsort(descending=True, stable=True)
        return at if self.ids is None else self.ids[at]


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
    raw = _View(passed[0], row)
    views, reports = [raw], []
    for at, name in enumerate(pipeline.names):
        same = passed[at + 1] is passed[at]
        view = views[-1] if same else _View(passed[at + 1], row, raw)
        # both sums carry rounding: where nothing went, nothing was removed
        removed = max(0.0, views[-1].raw_mass - view.raw_mass) if view.kept < views[-1].kept else 0.0
        reports.append(StageReport(name, at, view.kept, removed, view.entropy, view.kl))
        views.append(view)
    own = torch.tensor([drawn], device=raw.logits.device)
    likeliest = raw.likeliest(max(detail.candidates, RECORDED) if detail.candidates is not None and detail.logits else detail.candidates)
    shown = likeliest[: detail.candidates]
    if not bool((shown == own).any()):
        shown = torch.cat([shown, own])
    table = [view.lookup(shown) for view in views]
    raw_logprob, logprob = raw.lookup(own)[0], views[-1].lookup(own)[0]
    lines = zip(shown.tolist(), zip(*table, strict=True), strict=True)
    candidates = tuple(_candidate(token, line, passed, row, pipeline, vocabulary, detail) for token, line in lines)
    recorded = {} if memory is None or not detail.logits else {"logits": _recorded(passed, row, [likeliest, own, _seen(memory, raw)])}
    return {
        "logprob": min(0.0, logprob),
        "raw_logprob": min(0.0, raw_logprob),
        "rank": 1 + int((raw.logits > raw.at(own)).sum()),
        "entropy": views[-1].entropy,
        "raw_entropy": raw.entropy,
        "candidates": candidates,
        "stages": tuple(reports),
        **recorded,
    }


def _seen(memory: Memory, raw: _View) -> Tensor:
    return memory.seen(0, "prompt+output")[0].to(raw.logits.device)


def _recorded(passed: Sequence[Candidates], row: int, known: Sequence[Tensor]) -> Logits:
    """What a replay needs of this row: the logits of the survivors and of the `known` ids, each (m,) of them."""
    raw, final = passed[0].logits[row], passed[-1]
    log_total, same = float(passed[0].log_total[row]), final is passed[0]
    left = final.token_ids()[row][final.logits[row] > -torch.inf]
    every = torch.cat([left, *known]).unique() if len(left) < len(raw) else left  # type: ignore[no-untyped-call]
    if len(every) > len(raw) // 2:  # all logits alone are no longer than half of them with their ids
        return Logits(len(raw), b"", _packed(raw), b"" if same else _packed(final.spread(len(raw))[row]), log_total, None)
    ended = torch.full_like(raw[every], -torch.inf)
    columns, present = final.columns(row, every)
    ended[present] = final.logits[row, columns]
    highest = float(raw.index_fill(0, every, -torch.inf).amax())
    return Logits(
        size=len(raw),
        ids=every.int().cpu().numpy().astype("<i4", copy=False).tobytes(),
        raw=_packed(raw[every]),
        final=b"" if same else _packed(ended),
        log_total=log_total,
        highest=None if highest == -math.inf else highest,
    )


def _packed(values: Tensor) -> bytes:
    return bytes(values.float().cpu().numpy().astype("<f4", copy=False).tobytes())


def _candidate(
    token: int, line: tuple[float, ...], passed: Sequence[Candidates], row: int, pipeline: Pipeline, vocabulary: Vocabulary, detail: Detail
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
