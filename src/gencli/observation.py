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
from gencli.events import Candidate, StageReport
from gencli.pipeline import Pipeline
from gencli.vocabulary import Vocabulary

BITS = 1 / math.log(2)  # nats to bits


@dataclass(frozen=True)
class Detail:
    """How much a run tells of each step.

    `candidates` are the likeliest under the raw model (None: all of them), the drawn one always
    among them; `because` adds the numbers that removed a token, `after` its probability after each
    stage. `wanted` is asked before every step: a screen needs detail only for the frames it draws.
    """

    candidates: int | None = 10
    because: bool = True
    after: bool = False
    wanted: Callable[[], bool] = field(default=lambda: True)


class _View:
    """One row of one point of the pipeline: ascending `ids`, their log-probabilities, nothing removed."""

    def __init__(self, candidates: Candidates, row: int, raw: _View | None = None) -> None:
        logits = candidates.logits[row]
        self.size = len(logits)
        self.ids = torch.arange(self.size, device=logits.device) if candidates.ids is None else candidates.ids[row]
        finite = logits > -torch.inf
        if not bool(finite.all()):
            logits, self.ids = logits[finite], self.ids[finite]
        self.kept = len(logits)
        self.logprobs = logits - float(candidates.log_total[row])
        probs = self.logprobs.exp()
        self.entropy = max(0.0, -float((probs * self.logprobs).sum(dtype=torch.float64)) * BITS)
        self.raw_mass, self.kl = 1.0, 0.0
        if raw is not None:
            # where the model itself rules nothing out, an id is its own place
            at = self.ids if raw.kept == raw.size else torch.searchsorted(raw.ids, self.ids)
            raw_logprobs = raw.logprobs[at]
            self.raw_mass = float(raw_logprobs.exp().sum(dtype=torch.float64))
            self.kl = max(0.0, float((probs * (self.logprobs - raw_logprobs)).sum(dtype=torch.float64)) * BITS)

    def lookup(self, wanted: Tensor) -> list[float]:
        """The log-probabilities of these ids; -inf where a token is gone."""
        at = torch.searchsorted(self.ids, wanted).clamp(max=self.kept - 1)
        found = self.logprobs[at].where(self.ids[at] == wanted, -torch.inf)
        return [float(value) for value in found.tolist()]


def observe(
    passed: Sequence[Candidates], row: int, drawn: int, pipeline: Pipeline, vocabulary: Vocabulary, detail: Detail
) -> dict[str, Any]:
    """The measures of a `Token` event: what was in play in this row, before and after every stage.

    `passed` holds the candidates before the first stage and after each one.
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
    shown = _likeliest(raw, detail.candidates, drawn)
    table = [view.lookup(shown) for view in views]
    raw_logprob = raw.lookup(torch.tensor([drawn], device=shown.device))[0]
    logprob = views[-1].lookup(torch.tensor([drawn], device=shown.device))[0]
    lines = zip(shown.tolist(), zip(*table, strict=True), strict=True)
    candidates = tuple(_candidate(token, line, passed, row, pipeline, vocabulary, detail) for token, line in lines)
    return {
        "logprob": min(0.0, logprob),
        "raw_logprob": min(0.0, raw_logprob),
        "rank": 1 + int((raw.logprobs > raw_logprob).sum()),
        "entropy": views[-1].entropy,
        "raw_entropy": raw.entropy,
        "candidates": candidates,
        "stages": tuple(reports),
    }


def _likeliest(raw: _View, count: int | None, drawn: int) -> Tensor:
    """The ids of the `count` likeliest raw tokens, likeliest first, and the drawn one at the end if it is none of them."""
    if count is None or count >= raw.kept:
        return raw.ids[raw.logprobs.argsort(descending=True, stable=True)]
    shown = raw.ids[raw.logprobs.topk(count).indices]
    own = torch.tensor([drawn], device=shown.device)
    return shown if bool((shown == own).any()) else torch.cat([shown, own])


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
