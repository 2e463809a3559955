"""Several settings on the same noise: where their texts part, and how far their distributions are apart. Knows no terminal.

Every run is free. Distances are measured along the texts of the first setting, token by token: each of the
others is asked what it would draw there. Luck is measured beside it: the first setting under other noise.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import torch

from gencli import __version__
from gencli.candidates import Candidates
from gencli.distances import jensen_shannon, kept_sets, redrawn
from gencli.errors import UsageError
from gencli.events import Started
from gencli.gathering import Written, gathered
from gencli.generation import LARGEST_SEED, Options, run, vocabulary_of
from gencli.loading import Session
from gencli.memory import Memory
from gencli.pipeline import Pipeline
from gencli.prompting import Prompt, apply_template
from gencli.variations import Variation, pipeline_words
from gencli.variety import Estimate, mean_of_all

Tell = Callable[[float, str], object]


@dataclass(frozen=True)
class Run:
    """One text of one setting. `parts_at` is the first step at which it is not the first setting's text on the
    same noise (None: it is that text), and `parts_after` how many characters come before that step."""

    sample: int
    text: str
    ids: tuple[int, ...]
    reason: str
    stop: str | None
    parts_at: int | None
    parts_after: int | None


@dataclass(frozen=True)
class Point:
    """How one setting sees one token of the first setting's text.

    `distance` is the Jensen-Shannon distance between the two distributions (base 2: 0 equal, 1 disjoint),
    `changed` the probability that the same noise draws another token. `kept`, `only_first` and
    `only_other` count the tokens left in play by both, by the first setting alone, by this one alone.
    """

    sample: int
    step: int
    id: int
    text: str
    first_prob: float
    prob: float
    distance: float
    changed: float
    kept: int
    only_first: int
    only_other: int


@dataclass(frozen=True)
class Contender:
    """One setting: what it is, what it wrote, and how far it is from the first one along the first one's texts.

    `distance` and `changed` are means over all points with 95 % intervals (jackknife over the samples);
    `parted` counts the samples whose text parts from the first one's.
    """

    name: str
    pipeline: str
    preset: dict[str, Any]
    runs: tuple[Run, ...]
    parted: int
    distance: Estimate | None
    changed: Estimate | None
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Luck:
    """The first setting against itself under other noise.

    `parts_at` is the first step at which two of its samples differ, for every pair of them (None: they are
    equal); `changed` the mean probability that other noise draws another token, along its texts.
    """

    parts_at: tuple[int | None, ...]
    changed: Estimate | None


@dataclass(frozen=True)
class Comparison:
    """Everything that was compared, and where; the first contender is the one that the others are measured against."""

    gencli: str
    checkpoint: dict[str, Any]
    prompt: str
    seed: int
    samples: int
    first_sample: int
    contenders: tuple[Contender, ...]
    luck: Luck

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        return asdict(self)


def compare(
    session: Session,
    prompt: str | Prompt,
    settings: Sequence[Variation],
    options: Options | None = None,
    tell: Tell = lambda share, name: None,
) -> Comparison:
    """Run every setting on `options.samples` noises, and measure all of them along the first one's texts.

    A preset's template is laid around the prompt. `tell` is called with the share done (0 to 1) and the
    setting at work. Raises what `generation.run` raises, and `UsageError` where there are fewer than two or a
    stage takes tokens back.
    """
    if len(settings) < 2:
        raise UsageError(f"a comparison needs at least two settings, not {len(settings)}.")
    for each in settings:
        _pipeline(session, each).forward_only(
            "distances are measured along a text that only goes on",
            "measure this setting with `gencli diversity`, or ban single tokens by their ids",
        )
    options = options or Options(samples=8)
    prompt = Prompt.of(prompt) if isinstance(prompt, str) else prompt
    options = replace(options, seed=secrets.randbelow(LARGEST_SEED + 1) if options.seed is None else options.seed)
    written = []
    for place, each in enumerate(settings):
        tell(place / (len(settings) + 1), each.name)
        template = each.preset.get("template")
        whole = apply_template(template, prompt) if template else prompt
        written.append(_Ran(each, *gathered(run(session, whole, each.preset, options))))
    first = written[0]
    points: list[list[Point]] = [[] for _ in settings]
    others_draws: list[list[float]] = [[] for _ in first.texts]
    parts = len(settings) + 1  # each run, and the walk along the first one's texts
    for step, rows, finals in _walk(session, written, options, lambda share: tell((parts - 1 + share) / parts, "distances")):
        _measure(session, first, step, rows, finals, points, others_draws)
    contenders = tuple(_contender(each, first, seen) for each, seen in zip(written, points, strict=True))
    pairs = combinations(first.texts, 2)
    luck = Luck(tuple(parting(one.ids, other.ids) for one, other in pairs), mean_of_all(others_draws))
    started = first.started
    return Comparison(__version__, started.checkpoint, prompt.text, started.seed, options.samples, options.first_sample, contenders, luck)


@dataclass(frozen=True)
class _Ran:
    """A setting and what it wrote."""

    setting: Variation
    started: Started
    texts: list[Written]


def parting(one: Sequence[int], other: Sequence[int]) -> int | None:
    """The first step at which two runs are not the same, one that has ended included; None where they are equal."""
    for step, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if mine != theirs:
            return step
    return None if len(one) == len(other) else min(len(one), len(other))


@torch.inference_mode()
def _walk(
    session: Session, written: Sequence[_Ran], options: Options, told: Callable[[float], object]
) -> Iterator[tuple[int, list[int], list[Candidates]]]:
    """Along the first setting's texts: the step, the samples still going, and what every setting leaves in play there.

    Settings with the same prompt share the model's work; a template of its own gives a setting another prompt.
    """
    texts = [each.ids for each in written[0].texts]
    longest = max(map(len, texts))
    prompts = [each.started.prompt_ids for each in written]
    decoders = {ids: session.decoder(cache=options.cache, overflow="slide", room=len(ids) + longest) for ids in prompts}
    logits = {ids: decoder.prefill(ids, len(texts)) for ids, decoder in decoders.items()}
    pipelines = [_pipeline(session, each.setting) for each in written]
    companions = [session.companions(each, cache=options.cache, overflow="slide", new=longest) for each in pipelines]
    seed, numbers = written[0].started.seed, [each.sample for each in written[0].texts]
    memories = [[Memory(ids, seed, number) for number in numbers] for ids in prompts]
    rows = list(range(len(texts)))
    for step in range(longest):
        going = [place for place, row in enumerate(rows) if len(texts[row]) > step]
        if len(going) < len(rows):
            rows = [rows[place] for place in going]
            logits = {ids: values[going] for ids, values in logits.items() if values is not None}
            for decoder in decoders.values():
                decoder.keep(going)
            for beside in companions:
                beside.keep(going)
            memories = [[each[place] for place in going] for each in memories]
        finals = []
        tokens = [texts[row][step] for row in rows]
        for ids, pipeline, beside, remembered in zip(prompts, pipelines, companions, memories, strict=True):
            values = logits[ids]
            assert values is not None  # nothing interrupts it
            beside.hand(remembered)
            finals.append(pipeline(Candidates(values), remembered))
            pipeline.drawn(finals[-1], tokens, remembered)  # what listens hears of the given token as of a drawn one
            for memory, token in zip(remembered, tokens, strict=True):
                memory.append(token)
        yield step, rows, finals
        told((step + 1) / longest)
        if step + 1 < longest:
            logits = {ids: decoder.step(tokens) for ids, decoder in decoders.items()}


def _pipeline(session: Session, setting: Variation) -> Pipeline:
    return Pipeline(setting.preset.stages()).bind(vocabulary_of(session, setting.preset))


def _measure(
    session: Session,
    first: _Ran,
    step: int,
    rows: Sequence[int],
    finals: Sequence[Candidates],
    points: Sequence[list[Point]],
    others_draws: Sequence[list[float]],
) -> None:
    """Every setting's view of one step, a point for each row that is still going."""
    size, vocabulary = session.vocabulary.size, session.vocabulary
    spreads = [Candidates(each.spread(size)) for each in finals]
    probs = [each.probs() for each in spreads]
    ids = [first.texts[row].ids[step] for row in rows]
    drawn = torch.tensor(ids)[:, None]
    for row, other in zip(rows, (1 - probs[0].square().sum(dim=1)).clamp_(min=0.0).tolist(), strict=True):
        others_draws[row].append(other)
    for place, seen in enumerate(points):
        columns = (
            probs[0].gather(1, drawn)[:, 0],
            probs[place].gather(1, drawn)[:, 0],
            jensen_shannon(probs[0], probs[place]),
            redrawn(probs[0], probs[place]),
            *kept_sets(spreads[0].logits, spreads[place].logits),
        )
        for row, token, values in zip(rows, ids, zip(*(column.tolist() for column in columns), strict=True), strict=True):
            seen.append(Point(first.started.first_sample + row, step, token, vocabulary.text(token), *values))


def _contender(written: _Ran, first: _Ran, points: Sequence[Point]) -> Contender:
    runs = tuple(_run(text, base) for text, base in zip(written.texts, first.texts, strict=True))
    samples = [text.sample for text in written.texts]
    return Contender(
        name=written.setting.name,
        pipeline=pipeline_words(written.setting.preset),
        preset=written.started.preset,
        runs=runs,
        parted=sum(each.parts_at is not None for each in runs),
        distance=mean_of_all([[each.distance for each in points if each.sample == number] for number in samples]),
        changed=mean_of_all([[each.changed for each in points if each.sample == number] for number in samples]),
        points=tuple(points),
    )


def _run(text: Written, first: Written) -> Run:
    at = parting(first.ids, text.ids)
    after = None if at is None else len("".join(text.pieces[:at]))
    return Run(text.sample, text.text, tuple(text.ids), text.reason, text.stop, at, after)
