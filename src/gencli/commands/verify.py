"""`gencli verify`: runs a recorded run again and compares it, its probabilities and the checkpoint's files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from gencli.errors import RunError, UsageError, shown
from gencli.option_types import Command, Number, OneOf
from gencli.options import all_of, model_options, option

if TYPE_CHECKING:
    from gencli.events import Started
    from gencli.loading import Session
    from gencli.verification import Verification

SECTION = "Options"
DEFAULT_TOLERANCE = 1e-4

EXAMPLES = """\b
Examples:
  gencli generate --seed 7 --trace story.jsonl "Once upon a time"
  gencli verify story.jsonl
  gencli verify story.jsonl --checkpoint ./copy-of-the-checkpoint --tolerance 0.001
  gencli verify story.jsonl --format json | jq .largest_difference
"""

own_options = all_of(
    option(
        "--tolerance",
        SECTION,
        Number("from 0 to 1", low=0, high=1, whole=False),
        f"How far a probability may be from the recorded one. [0 to 1; default: {DEFAULT_TOLERANCE:g}]",
        default=DEFAULT_TOLERANCE,
    ),
    option("--format", SECTION, OneOf("text", "json"), "How to write it. [default: text]", "form", default="text"),
    option("--quiet", SECTION, None, "No progress on stderr.", short="-q"),
)


@click.command(cls=Command, epilog=EXAMPLES, short_help="Run a recorded run again, and compare.")
@click.argument("trace")
@own_options
@model_options
@click.pass_context
def verify(context: click.Context, /, trace: str, form: str, tolerance: float, quiet: bool, **params: Any) -> None:
    """Run the run of a trace again and compare: tokens, probabilities, and the checkpoint's files, hashed anew.

    TRACE is what `gencli generate --trace` wrote, or - for stdin. Checkpoint, precision and device are the recorded ones unless
    named. Exit code 0: everything is as it was; 1: something differs.
    """
    from itertools import chain

    from gencli.progress import Progress
    from gencli.request import trace_from
    from gencli.terminal import Messages, Output
    from gencli.trace import begun, trace_events

    messages, output = Messages(quiet), Output()
    started, events = begun(trace_events(trace_from(trace), messages.warning))
    progress = Progress(messages)
    try:
        progress("loading the model")
        session = _loaded(context, started)
        from gencli.verification import verify_trace

        found = verify_trace(session, chain([started], events), tolerance, lambda done, most: progress.share("verifying", done, most))
    finally:
        progress.clear()
    output.write(_json(found) if form == "json" else _text(found, session.name))
    if found.difference is not None:
        raise RunError(found.difference)


def _loaded(context: click.Context, started: Started) -> Session:
    """The session of the named checkpoint, else of the recorded one, held as it was then unless asked otherwise."""
    from gencli.catalogue import find_checkpoint
    from gencli.formats import open_checkpoint
    from gencli.preset import Preset
    from gencli.prompting import Prompt
    from gencli.request import Request

    params = {**context.params}
    if params["checkpoint"] is None:
        recorded = started.checkpoint.get("path")
        if not isinstance(recorded, str) or not os.path.exists(recorded):
            raise UsageError(f"the checkpoint of the trace, {shown(recorded)}, is not there; name one with --checkpoint.")
        params["checkpoint"] = os.path.abspath(recorded)  # never looked up as a name
    for name, then in (("precision", started.precision), ("device", started.device)):
        if context.get_parameter_source(name) is click.core.ParameterSource.DEFAULT:
            params[name] = then
    size = open_checkpoint(find_checkpoint(params["checkpoint"])).bytes
    return Request(Prompt(), Preset(), params, size).load()


def _text(found: Verification, name: str) -> str:
    from gencli.terminal import visible

    if found.recorded_sha256 is None:
        files = "not compared: the trace holds no fingerprint"
    else:
        files = "as recorded" if found.sha256 == found.recorded_sha256 else "not those of the trace"
    lines = [("checkpoint", visible(name, on_one_line=True)), ("files", files), ("sha256", found.sha256 or "unknown")]
    lines.append(("tokens", f"{found.same} of {found.tokens} drawn again"))
    if found.parts_at is not None:
        at = found.parts_at
        why = ", where the draw lies on the border between them" if at.near else ""
        lines.append(("", f"sample {at.sample} parts at step {at.step}: {at.recorded_id} then, {at.id} now{why}"))
    lines.append(("probabilities", f"at most {found.largest:.2g} away (tolerance {found.tolerance:g})"))
    return "".join(f"{head:<15}{text}\n" for head, text in lines)


def _json(found: Verification) -> str:
    from dataclasses import asdict

    from gencli.events import dumps

    return dumps({**asdict(found), "difference": found.difference}) + "\n"
