"""`gencli compare`: one prompt under several settings on the same noise, and luck beside them. Puts runs and a report together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gencli.option_types import Command, Number, OneOf
from gencli.options import all_of, model_options, option, prompt_options, sampling_options, variation_options

if TYPE_CHECKING:
    from gencli.comparison import Comparison
    from gencli.terminal import Output

SECTION = "Options"
SAMPLES, TOKENS = 8, 40

EXAMPLES = """\b
Examples:
  gencli compare --preset creative --preset chat --preset factual "Once upon a time"
  gencli compare --preset creative --variant temperature=0.5,top_p=0.9 "The dragon"
  gencli compare --set temperature=0.5,1.0,1.5 --seed 7 "My cat"
  gencli compare --preset creative --preset greedy --format csv "The" > distances.csv
"""

own_options = all_of(
    option("--top", SECTION, Number("from 0", low=0), "How many of the steps that differ most are listed. [default: 5]", default=5),
    option("--format", SECTION, OneOf("table", "json", "csv"), "How to write it. [default: table]", "form", default="table"),
    option("--quiet", SECTION, None, "No progress on stderr.", short="-q"),
)


@click.command(cls=Command, epilog=EXAMPLES, short_help="Several presets on the same noise: where and how far they differ.")
@prompt_options
@own_options
@variation_options
@sampling_options(SAMPLES, TOKENS)
@model_options
@click.pass_context
def compare(context: click.Context, /, form: str, top: int, quiet: bool, **params: Any) -> int:
    """Continue PROMPT with several presets or settings, all on the same noise, and measure how they differ.

    Distances are measured along the first one's tokens. Each runs on several noises; the first one beside itself
    under other noise shows what luck alone does.
    """
    from gencli.gating import check_gates, verdict
    from gencli.progress import Progress
    from gencli.request import variations_from
    from gencli.terminal import Messages, Output

    check_gates(context)
    request, settings = variations_from(context, TOKENS, least=2)
    messages, output = Messages(quiet), Output()
    progress = Progress(messages)
    try:
        progress("loading the model")
        session = request.load()
        from gencli.comparison import compare as compared

        comparison = compared(session, request.prompt, settings, request.options(None), lambda share, name: progress.share(name, share))
    finally:
        progress.clear()
    {"table": _write_table, "json": _write_json, "csv": _write_csv}[form](comparison, top, output)
    return verdict(context, [run for each in comparison.contenders for run in each.runs], messages)


def _write_table(comparison: Comparison, top: int, output: Output) -> None:
    from gencli.bar import Palette
    from gencli.comparison_report import comparison_lines
    from gencli.tables import width_of
    from gencli.terminal import colour_of

    lines = comparison_lines(comparison, width_of(output), Palette(colour_of(output.terminal)), top)
    output.styled("\n".join(lines) + "\n")


def _write_json(comparison: Comparison, top: int, output: Output) -> None:
    from gencli.events import dumps

    output.write(dumps(comparison.to_dict()) + "\n")


def _write_csv(comparison: Comparison, top: int, output: Output) -> None:
    from gencli.comparison_report import comparison_csv

    output.write(comparison_csv(comparison))
