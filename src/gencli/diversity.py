"""Many samples a setting, in batches that memory bounds: how varied they are. Knows no terminal and no command line."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from gencli import __version__
from gencli.errors import UsageError
from gencli.events import Event, Started, Token
from gencli.gathering import Written, gathered
from gencli.generation import LARGEST_SEED, Options, run
from gencli.loading import Session
from gencli.prompting import Prompt, apply_template
from gencli.stages import others_needed
from gencli.stopping import DEFAULT_NEW_TOKENS
from gencli.variations import Variation, pipeline_words
from gencli.variety import Variety, variety

BATCH_BYTES = 1 << 28  # what a batch's cache and distributions may take
MOST_ROWS = 256  # more rows a step are hardly faster
SCRATCH = 40  # bytes a token of the vocabulary that a row's logits, weights and sums take

Tell = Callable[[float, str], object]


@dataclass(frozen=True)
class Ending:
    """One sample's text, and why it ended."""

    sample: int
    text: str
    reason: str
    stop: str | None


@dataclass(frozen=True)
class Measured:
    """One setting: its name, pipeline and complete preset, what varied, its figures and its texts in order."""

    name: str
    pipeline: str
    varied: dict[str, str]
    preset: dict[str, Any]
    variety: Variety
    texts: tuple[Ending, ...]


@dataclass(frozen=True)
class Survey:
    """How varied every setting is, on the same noise (`seed`, samples `first_sample` and on), and where it was measured."""

    gencli: str
    checkpoint: dict[str, Any]
    prompt: str
    seed: int
    samples: int
    first_sample: int
    settings: tuple[Measured, ...]

    def to_dict(self) -> dict[str, Any]:
        """The survey as JSON values."""
        return asdict(self)


def survey(
    session: Session,
    prompt: str | Prompt,
    settings: Sequence[Variation],
    options: Options | None = None,
    tell: Tell = lambda share, name: None,
) -> Survey:
    """Write `options.samples` texts with every setting, and measure how varied they are.

    A preset's template is laid around the prompt. `tell` is called with the share done (0 to 1) and the
    setting at work. Raises what `generation.run` raises, and `UsageError` where there is no setting.
    """
    if not settings:
        raise UsageError("a survey needs at least one setting.")
    options = options or Options(samples=100)
    prompt = Prompt.of(prompt) if isinstance(prompt, str) else prompt
    options = replace(options, seed=secrets.randbelow(LARGEST_SEED + 1) if options.seed is None else options.seed)
    measured = []
    for place, each in enumerate(settings):

        def told(share: float, place: int = place, name: str = each.name) -> None:
            tell((place + share) / len(settings), name)

        started, samples = _written(session, prompt, each, options, told)
        figures, texts = variety(samples), tuple(Ending(one.sample, one.text, one.reason, one.stop) for one in samples)
        measured.append(Measured(each.name, pipeline_words(each.preset), dict(each.varied), started.preset, figures, texts))
    seed, checkpoint = started.seed, started.checkpoint
    return Survey(__version__, checkpoint, prompt.text, seed, options.samples, options.first_sample, tuple(measured))


def rows_at_once(session: Session, length: int) -> int:
    """How many rows of `length` tokens a batch may hold."""
    model = session.model
    cache = 2 * 4 * model.layers * model.kv_heads * model.head_dim * min(length, session.context)
    # twice the cache: where rows end, those that go on are copied
    return max(1, min(MOST_ROWS, BATCH_BYTES // (2 * cache + SCRATCH * model.vocab_size)))


def _written(
    session: Session, prompt: Prompt, setting: Variation, options: Options, told: Callable[[float], object]
) -> tuple[Started, list[Written]]:
    """The samples of one setting, in order, and how its first batch began."""
    template = setting.preset.get("template")
    whole = apply_template(template, prompt) if template else prompt
    most = setting.preset.get("max_new_tokens", DEFAULT_NEW_TOKENS)
    rows = max(1, rows_at_once(session, len(whole.text.encode()) + most) // (1 + others_needed(setting.preset.stages())))
    started: Started | None = None
    samples: list[Written] = []
    for first in range(0, options.samples, rows):
        batch = replace(
            options, first_sample=options.first_sample + first, samples=min(rows, options.samples - first), entropy=True, detail=None
        )
        done = len(samples) * most

        def heard(event: Event) -> None:
            nonlocal done
            done += isinstance(event, Token)
            told(min(1.0, done / (options.samples * most)))

        began, texts = gathered(run(session, whole, setting.preset, batch), heard)
        started = started or began
        samples += texts
    assert started is not None  # there is at least one sample
    told(1.0)
    return started, samples
