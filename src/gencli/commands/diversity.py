"""`gencli diversity`: many samples a setting, and how varied they are. Puts runs and a report together."""

from __future__ import annotations

from typing import Any

import click

from gencli.option_types import Command, OneOf
from gencli.options import all_of, model_options, option, prompt_options, sampling_options, variation_options

SECTION = "Options"
SAMPLES, TOKENS = 100, 40

EXAMPLES = """\b
Examples:
  gencli diversity --set temperature=0.2,0.5,0.8,1.1,1.4 "Once upon a time"
  gencli diversity --preset factual --preset creative --samples 200 "The dragon"
  gencli diversity --set temperature=0.7,1 --set top_p=0.9,1 --max-new-tokens 20 "My cat"
  gencli diversity --set temperature=0,0.5,1 --format csv "The" > diversity.csv
"""

own_options = all_of(
    option("--format", SECTION, OneOf("table", "json", "csv"), "How to write it. [default: table]", "form", default="table"),
    option("--quiet", SECTION, None, "No progress on stderr.", short="-q"),
)


@click.command(cls=Command, epilog=EXAMPLES, short_help="Many samples a setting: unique texts, distinct-n, loops, entropy.")
@prompt_options
@own_options
@variation_options
@sampling_options(SAMPLES, TOKENS)
@model_options
@click.pass_context
def diversity(context: click.Context, /, form: str, quiet: bool, **params: Any) -> int:
    """Continue PROMPT many times with each setting, and measure how varied the texts are.

    The share of unique texts, distinct-1, -2 and -3, loops and the mean entropy, each with a 95 % interval. Every
    setting draws the same noise.
    """
    from gencli.gating import check_gates, verdict
    from gencli.progress import Progress
    from gencli.request import variations_from
    from gencli.terminal import Messages, Output

    check_gates(context)
    request, settings = variations_from(context, TOKENS)
    messages, output = Messages(quiet), Output()
    progress = Progress(messages)
    try:
        progress("loading the model")
        session = request.load()
        from gencli.diversity import survey

        found = survey(session, request.prompt, settings, request.options(None), lambda share, name: progress.share(name, share))
    finally:
        progress.clear()
    from gencli.bar import Palette
    from gencli.diversity_report import survey_csv, survey_lines
    from gencli.events import dumps
    from gencli.tables import width_of
    from gencli.terminal import colour_of

    if form == "table":
        output.styled("\n".join(survey_lines(found, width_of(output), Palette(colour_of(output.terminal)))) + "\n")
    else:
        output.write(survey_csv(found) if form == "csv" else dumps(found.to_dict()) + "\n")
    return verdict(context, [text for each in found.settings for text in each.texts], messages)
