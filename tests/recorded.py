"""Runs that were recorded, for the tests of replaying: real ones, and steps over logits made by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gencli.candidates import Candidates
from gencli.drawing import draw
from gencli.events import Event, Started, Token
from gencli.generation import Options, run
from gencli.loading import Session
from gencli.memory import Memory
from gencli.observation import Detail, observe
from gencli.pipeline import Pipeline
from gencli.preset import Preset, StageSettings, Value
from gencli.registry import find, names
from gencli.stages import Knob, knobs
from gencli.vocabulary import Vocabulary
from steps import STARTED

NUMBERS = (0.5, 0.95, 0.1, 1.3, 3.0)
COUNTS = (2, 3, 40)


def preset_of(*stages: tuple[str, dict[str, Any]], **settings: Any) -> Preset:
    """A preset from stage names and knobs."""
    pipeline = tuple(StageSettings(name, tuple((knob, Value(value, "flag")) for knob, value in given.items())) for name, given in stages)
    return Preset(pipeline=pipeline, settings=tuple((key, Value(value, "flag")) for key, value in settings.items()))


def lively(name: str) -> list[dict[str, Any]]:
    """Settings of a stage with which it does something: its first knob away from neutral, the others too."""
    first, *others = knobs(find("stages", name))
    found = [{first.name: value} for value in _values(first)]
    return found + [{**found[0], knob.name: value} for knob in others for value in _values(knob)]


def _values(knob: Knob) -> list[Any]:
    made: dict[str, Sequence[Any]] = {"float": NUMBERS, "int": COUNTS, "map": [{300: 2.0, 11: -float("inf")}], "choice": knob.choices}
    fitting = []
    for value in made.get(knob.kind, [(300, 11)]):
        try:
            checked = knob.check(value, knob.name)
        except ValueError:
            continue
        fitting += [value] if checked != knob.neutral else []
    return fitting


EVERY_STAGE = [(name, settings) for name in names("stages") for settings in lively(name)]
# those that logits made by hand are enough for
BY_HAND = [(name, settings) for name, settings in EVERY_STAGE if not hasattr(find("stages", name), "needs")]


def recorded(session: Session, preset: Preset, seed: int = 1, tokens: int = 8, **options: Any) -> list[Event]:
    """A real run with everything that a trace keeps."""
    limited = replace(preset, settings=(*preset.settings, ("max_new_tokens", Value(tokens, "flag"))))
    detail = Detail(logits=True, candidates=options.pop("candidates", 10))
    return list(run(session, "Once upon a time", limited, Options(seed=seed, ignore_end=True, detail=detail, **options)))


def plain_vocabulary(size: int) -> Vocabulary:
    """Tokens that are their numbers."""
    return Vocabulary(size, [f" {token}".encode() for token in range(size)], frozenset({0}), frozenset(), lambda text: [int(text)])


def made(
    rows: Sequence[Tensor], preset: Preset, seed: int, vocabulary: Vocabulary, prompt_ids: tuple[int, ...] = (1, 2, 3)
) -> Iterator[Event]:
    """The events of a run whose model gives these logits (size,), one a step, and behind another prompt the same backwards."""
    pipeline, memory = Pipeline(preset.stages()).bind(vocabulary), Memory(STARTED.prompt_ids, seed)
    yield started(preset, pipeline, seed)
    for step, row in enumerate(rows):
        memory.hand((), row.flip(0))
        passed = pipeline.traced(Candidates(row[None]), [memory])
        token = draw(passed[-1], [memory.uniform()])[0]
        pipeline.drawn(passed[-1], [token], [memory])
        memory.append(token)
        measures = observe(passed, 0, token, pipeline, vocabulary, Detail(logits=True), memory)
        yield Token(0, step, token, f" {token}", vocabulary.token_bytes[token], **measures)


def started(preset: Preset, pipeline: Pipeline, seed: int) -> Started:
    return replace(STARTED, preset=preset.to_dict(pipeline.stages), seed=seed)


def truth(rows: Sequence[Tensor], tokens: Sequence[int], preset: Preset, seed: int, vocabulary: Vocabulary) -> Iterator[tuple[int, Tensor]]:
    """What a pipeline really draws along given tokens, and its distribution (size,) at each step."""
    pipeline, memory = Pipeline(preset.stages()).bind(vocabulary), Memory(STARTED.prompt_ids, seed)
    for row, token in zip(rows, tokens, strict=True):
        memory.hand((), row.flip(0))
        final = pipeline(Candidates(row[None]), [memory])
        yield draw(final, [memory.uniform()])[0], final.spread(len(row))[0].double().softmax(0)
        pipeline.drawn(final, [token], [memory])
        memory.append(token)


def logits_of(scale: float, size: int, seed: int, steps: int = 3) -> list[Tensor]:
    """Random logits (size,), steeper for a larger scale."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, generator=generator) * scale for _ in range(steps)]
