"""`gencli inspect-probs`: the next token's distribution, raw and after every stage. Runs one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gencli.option_types import Command, Number, OneOf
from gencli.options import model_options, option, pipeline_options, prompt_options

if TYPE_CHECKING:
    from gencli.events import Token
    from gencli.terminal import Output

EXAMPLES = """\b
Examples:
  gencli inspect-probs "Once upon a"
  gencli inspect-probs --preset creative --top 20 "Once upon a"
  gencli inspect-probs --top-k 5 --format csv "The" > probabilities.csv
"""


@click.command("inspect-probs", cls=Command, epilog=EXAMPLES, short_help="The next token, before and after each stage.")
@prompt_options
@option("--top", "Options", Number("at least 1", low=1), "How many of the likeliest tokens. [default: 10]", default=10)
@option("--format", "Options", OneOf("table", "json", "csv"), "How to write them. [default: table]", "form", default="table")
@pipeline_options
@model_options
@click.pass_context
def inspect_probs(context: click.Context, /, form: str, top: int, **params: Any) -> None:
    """What may come after PROMPT: the likeliest tokens, their probability under the model alone and after each stage.

    A token that a stage removed is struck out and says which; csv and json also give the numbers that decided.
    """
    from gencli.request import request_from

    request = request_from(context)
    session = request.load()
    from gencli.events import Token
    from gencli.generation import run
    from gencli.observation import Detail
    from gencli.terminal import Output

    options = request.options(Detail(candidates=top, after=True))
    token = next(event for event in run(session, request.prompt, request.preset, options) if isinstance(event, Token))
    {"table": _write_table, "json": _write_json, "csv": _write_csv}[form](token, top, Output())


def _write_table(token: Token, top: int, output: Output) -> None:
    from gencli.bar import Palette
    from gencli.distribution import distribution_lines
    from gencli.tables import width_of
    from gencli.terminal import colour_of

    palette = Palette(colour_of(output.terminal))
    candidates = (token.candidates or ())[:top]
    lines = distribution_lines(candidates, token.stages or (), width_of(output), palette, raw_entropy=token.raw_entropy)
    output.styled("\n".join(lines) + "\n")


def _write_json(token: Token, top: int, output: Output) -> None:
    from gencli.events import dumps, to_dict

    whole = to_dict(token)
    # the event's own token was drawn only to look at the step; what it drew is no part of the distribution
    kept = {key: whole[key] for key in ("raw_entropy", "entropy", "stages")}
    output.write(dumps({**kept, "candidates": whole["candidates"][:top]}) + "\n")


def _write_csv(token: Token, top: int, output: Output) -> None:
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"after {report.stage}" for report in token.stages or ()]
    writer.writerow(["id", "text", "raw_prob", *columns, "prob", "removed_by", "because"])
    for each in (token.candidates or ())[:top]:
        after = each.after or ()
        writer.writerow([each.id, each.text, each.raw_prob, *after, each.prob, each.removed_by or "", each.because or ""])
    output.write(text.getvalue())
