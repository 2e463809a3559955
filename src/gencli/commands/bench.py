"""`gencli bench`: how fast a checkpoint runs here, where the time goes, and what the machine would allow."""

from __future__ import annotations

from typing import Any

import click

from gencli.errors import UsageError
from gencli.option_types import Command, Number, OneOf, ParamType, spoken
from gencli.options import all_of, model_options, option

SECTION = "Options"
MOST_ROWS, MOST_REPEATS = 4096, 1000
LARGEST = 10**9

EXAMPLES = """\b
Examples:
  gencli bench
  gencli bench --precision float16 --threads 2 --batches 1,16
  gencli bench --no-cache --prompt-lengths 16,64,192
  gencli bench --context --new-tokens 16
  gencli bench --no-cache --context --format plot
  gencli bench --format json | jq '.decode[] | [.rows, .tokens_per_second]'
"""


class Numbers(ParamType):
    """Whole numbers between commas, from 1 to `most` (None: any); each once, in their order."""

    name = "n,..."

    def __init__(self, most: int | None = None) -> None:
        self.most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        numbers = [word.strip() for word in str(value).split(",")]
        if not all(word.isascii() and word.isdigit() and len(word) <= 10 and 1 <= int(word) <= (self.most or LARGEST) for word in numbers):
            words = f"from 1 to {self.most}" if self.most else "from 1"
            raise UsageError(f"{spoken(param, ctx)} must be whole numbers {words} between commas, not {value!r}.")
        return tuple(dict.fromkeys(map(int, numbers)))


own_options = all_of(
    option("--prompt-lengths", SECTION, Numbers(), "Prompts of so many tokens. [default: 32,128, or what fits]", metavar="N,..."),
    option(
        "--batches", SECTION, Numbers(MOST_ROWS), "Rows that decode together. [default: 1,4,8,16]", default=(1, 4, 8, 16), metavar="N,..."
    ),
    option("--new-tokens", SECTION, Number("at least 1", low=1), "Tokens after each prompt. [default: 32, or what fits]"),
    option(
        "--repeat",
        SECTION,
        Number(f"from 1 to {MOST_REPEATS}", low=1, high=MOST_REPEATS),
        "Take the median of so many runs. [default: 3]",
        default=3,
    ),
    option("--no-cache", SECTION, None, "Instead: what the KV cache saves in seconds, and what it takes in bytes."),
    option("--context", SECTION, None, "Instead: how the time a token grows with the positions in the cache."),
    option(
        "--format",
        SECTION,
        OneOf("table", "plot", "json"),
        "How to write it: numbers with bars, curves, or JSON. [default: table]",
        "form",
        default="table",
    ),
    option("--quiet", SECTION, None, "No progress on stderr.", short="-q"),
)


@click.command(cls=Command, epilog=EXAMPLES, short_help="Speed, memory, and the share of this machine's limit.")
@own_options
@model_options
@click.pass_context
def bench(context: click.Context, /, **params: Any) -> None:
    """How fast a checkpoint runs here.

    Time to first token part by part, prefill and decode speed, peak memory, and the share reached of what the
    memory's bandwidth allows. Greedy steps through the decoder of `generate`; medians.
    """
    from gencli.bench import measure, plan
    from gencli.catalogue import find_checkpoint
    from gencli.formats import open_checkpoint
    from gencli.preset import Preset
    from gencli.progress import Progress
    from gencli.prompting import Prompt
    from gencli.request import Request, process_start
    from gencli.terminal import Messages, Output

    checkpoint = open_checkpoint(find_checkpoint(params["checkpoint"]))
    asked = plan(
        checkpoint,
        params["prompt_lengths"],
        params["batches"],
        params["new_tokens"],
        params["repeat"],
        trade=params["no_cache"],
        growth=params["context"],
    )
    load = Request(Prompt.of(""), Preset(), params, checkpoint.bytes).load  # as `generate` loads, threads and all
    progress = Progress(Messages(params["quiet"]))
    try:
        report = measure(checkpoint, load, asked, process_start(), lambda text: progress(f"measuring: {text}"))
    finally:
        progress.clear()
    output = Output()
    if params["form"] == "json":
        import json

        output.write(json.dumps(report.to_dict(), ensure_ascii=False, indent=2) + "\n")
        return
    from gencli.bar import Palette
    from gencli.bench_plot import plot_lines
    from gencli.bench_report import report_lines
    from gencli.tables import width_of
    from gencli.terminal import colour_of, visible

    draw = plot_lines if params["form"] == "plot" else report_lines
    lines = draw(report, width_of(output), Palette(colour_of(output.terminal)))
    lines[0] = visible(lines[0], on_one_line=True)
    output.styled("\n".join(lines) + "\n")
