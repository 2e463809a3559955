"""`gencli replay`: a recorded run under another preset, order or seed, without the model."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from gencli.errors import GencliError
from gencli.option_types import Command, Number, OneOf
from gencli.options import LARGEST_SEED, all_of, checkpoint_option, option, pipeline_options, settings_from

if TYPE_CHECKING:
    from gencli.events import Started
    from gencli.replay import Replayed
    from gencli.terminal import Output
    from gencli.vocabulary import Vocabulary

SECTION = "Options"
EXACT = 1e-6  # bounds no farther apart are one number

EXAMPLES = """\b
Examples:
  gencli generate --preset creative --seed 7 --trace story.jsonl "Once upon a time"
  gencli replay story.jsonl --preset chat
  gencli replay story.jsonl --temperature 0.5
  gencli replay story.jsonl --pipeline top_p,top_k,temperature,repetition_penalty
  gencli replay story.jsonl --seed 8 --format jsonl | jq 'select(.id != .recorded_id)'
"""

own_options = all_of(
    option("--seed", SECTION, Number("from 0 to 2^63-1", low=0, high=LARGEST_SEED), "Other noise. [0 to 2^63-1; default: the trace's]"),
    option("--format", SECTION, OneOf("text", "jsonl", "json", "csv"), "How to write it. [default: text]", "form", default="text"),
)


@click.command(cls=Command, epilog=EXAMPLES, short_help="A recorded run under another preset, order or seed.")
@click.argument("trace")
@own_options
@pipeline_options
@checkpoint_option
@click.pass_context
def replay(context: click.Context, /, trace: str, form: str, **params: Any) -> None:
    """What another preset, order or seed would have drawn at each step of a recorded run, without the model.

    TRACE is what `gencli generate --trace` wrote, or - for stdin. Every step follows the recorded tokens before it. Without
    --preset the flags change the recorded pipeline. Where the answer depends on tokens that the trace left out, it says so.
    """
    from gencli.replay import recorded_preset, replay_trace
    from gencli.request import trace_from
    from gencli.settings import resolve
    from gencli.terminal import Messages, Output
    from gencli.trace import begun, trace_events

    messages, output = Messages(), Output()
    started, events = begun(trace_events(trace_from(trace), messages.warning))
    preset = resolve(settings_from(context), base=recorded_preset(started))
    preset.stages()  # a value out of range is told before anything is replayed
    vocabulary = _vocabulary(started, params["checkpoint"])
    steps = replay_trace(chain([started], events), preset, params["seed"], vocabulary)
    if form == "jsonl":
        for step in steps:
            output.write(_line(step) + "\n")
    elif form == "json":
        _write_json(list(steps), output)
    elif form == "csv":
        _write_csv(steps, output)
    else:
        _write_text(list(steps), output)


def _vocabulary(started: Started, named: str | None) -> Vocabulary | None:
    """The named checkpoint's tokens, or those of the recorded one where it still is; names and texts of tokens need them."""
    from pathlib import Path

    from gencli.catalogue import find_checkpoint
    from gencli.loading import vocabulary_from

    if named is not None:
        return vocabulary_from(find_checkpoint(named))
    try:
        path = Path(started.checkpoint["path"])
        return vocabulary_from(path) if path.exists() else None
    except (GencliError, OSError, KeyError, TypeError, ValueError):  # it is not there any more, or no longer what it was
        return None


def _line(step: Replayed) -> str:
    from dataclasses import asdict

    from gencli.events import dumps

    return dumps(asdict(step))


def _write_json(steps: list[Replayed], output: Output) -> None:
    lines = ",".join(_line(step) for step in steps)
    first = _parts_at(steps)
    counts = f'"same":{sum(step.same for step in steps)},"undecided":{sum(not step.decided for step in steps)}'
    output.write(f'{{{counts},"parts_at":{"null" if first is None else _line(first)},"steps":[{lines}]}}\n')


def _write_csv(steps: Iterable[Replayed], output: Output) -> None:
    import csv
    import io

    def row(values: Iterable[object]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(values)
        output.write(text.getvalue())

    bounds = ("recorded_prob_low", "recorded_prob_high", "prob_low", "prob_high")
    row(("sample", "step", "recorded_id", "id", "decided", "recorded_text", "text", *bounds, "unrecorded"))
    for step in steps:
        decided = str(step.decided).lower()
        texts = (step.recorded_text, "" if step.text is None else step.text)
        token = "" if step.id is None else step.id
        row((step.sample, step.step, step.recorded_id, token, decided, *texts, *step.recorded_prob, *step.prob, step.unrecorded))


def _write_text(steps: list[Replayed], output: Output) -> None:
    from gencli.tables import table, width_of

    first = _parts_at(steps)
    samples = len({step.sample for step in steps}) > 1
    header = ("sample", "step", "recorded", "probability", "drawn", "probability", "")
    rows = [(step.sample, step.step, *_cells(step), _note(step, step is first)) for step in steps]
    skipped = 0 if samples else 1
    output.write(table(header[skipped:], [row[skipped:] for row in rows], width_of(output)))
    output.write(f"\n{_summary(steps, first)}\n")


def _cells(step: Replayed) -> tuple[str, ...]:
    from gencli.bar import label

    drawn = "-" if step.id is None else label(step.text or "", step.id)
    return label(step.recorded_text, step.recorded_id), _percent(step.recorded_prob), drawn, _percent(step.prob)


def _percent(bounds: tuple[float, float]) -> str:
    from gencli.bar import percent

    low, high = (percent(round(bound * 10000), bound > 0).strip() for bound in bounds)
    return high if low == high or bounds[1] - bounds[0] < EXACT else f"{low.removesuffix(' %')} to {high}"


def _note(step: Replayed, parts: bool) -> str:
    if not step.decided:
        from gencli.bar import percent

        return f"not decided: up to {percent(round(step.unrecorded * 10000), True).strip()} left out"
    if step.same:
        return ""
    return "<- they part here" if parts else "differs"


def _parts_at(steps: Iterable[Replayed]) -> Replayed | None:
    """The first step that certainly draws another token."""
    return next((step for step in steps if step.decided and not step.same), None)


def _summary(steps: list[Replayed], first: Replayed | None) -> str:
    same, open_ = sum(step.same for step in steps), sum(not step.decided for step in steps)
    parts = [f"{same} of {len(steps)} tokens are the recorded ones"]
    if open_:
        parts.append(f"{open_} are not decided by what the trace holds")
    if first is not None:
        where = f"step {first.step}" + (f" of sample {first.sample}" if len({step.sample for step in steps}) > 1 else "")
        parts.append(f"the first other one is {where}")
    return "; ".join(parts) + "."
