"""`gencli generate`: text, streamed, with live bars beside it. Puts a run and its renderers together."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from gencli.errors import UsageError
from gencli.option_types import Command, OneOf, Text
from gencli.options import all_of, chat_options, model_options, option, pipeline_options, prompt_options, run_options

if TYPE_CHECKING:
    from gencli.observation import Detail
    from gencli.renderers import Renderer
    from gencli.terminal import Messages, Output

DEFAULT_CANDIDATES = 10
SECTION = "Options"

EXAMPLES = """\b
Examples:
  gencli generate "Once upon a time"
  gencli generate --preset creative --seed 35 --max-new-tokens 100 "The dragon"
  echo "Who are you?" | gencli generate --preset chat --quiet > answer.txt
  gencli generate --chat "What do you like to eat?"
  gencli generate --temperature 0.7 --top-p 0.9 --samples 3 "My cat"
  gencli generate --preset code --stop $'\\n\\n' "def fibonacci(n):"
  gencli generate --format jsonl "Hello" | jq 'select(.event == "token") | .logprob'
"""


class Count(Text):
    """How many candidates an event lists: a number from 0, or `all`."""

    name = "n|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value != "all" and not (str(value).isascii() and str(value).isdigit() and len(str(value)) < 10):
            raise UsageError(f"--candidates must be a whole number from 0, or 'all', not {value!r}.")
        return str(value)


output_options = all_of(
    option("--format", SECTION, OneOf("text", "json", "jsonl"), "What stdout gets. [default: text]", "form", default="text"),
    option("--output", SECTION, click.Path(), "Write there instead of stdout.", short="-o", metavar="FILE"),
    option(
        "--bars",
        SECTION,
        OneOf("auto", "always", "each", "never"),
        "The likeliest tokens of each step on stderr: auto on a terminal, each leaves a line a token. [default: auto]",
        default="auto",
    ),
    option("--trace", SECTION, Text(whole=True), "Write every event there as a line of JSON.", metavar="FILE|fd:N"),
    option("--candidates", SECTION, Count(), f"How many candidates an event lists. [default: {DEFAULT_CANDIDATES}]"),
    option("--echo", SECTION, None, "Write the prompt before the text."),
    option("--no-newline", SECTION, None, "Add no newline at the end."),
    option("--separator", SECTION, Text(whole=True), r"The line between samples; \0 is a NUL byte. [default: ---]", default="---"),
    option("--quiet", SECTION, None, "Only errors on stderr.", short="-q"),
)


@click.command(cls=Command, epilog=EXAMPLES, short_help="Continue a prompt; live bars on a terminal.")
@prompt_options
@chat_options
@output_options
@pipeline_options
@run_options
@model_options
@click.pass_context
def generate(context: click.Context, /, **params: Any) -> int:
    """Continue PROMPT, and show how each word was chosen.

    The text goes to stdout, everything else to stderr. Without PROMPT, or with -, stdin is the prompt; a pipe or
    file beside a PROMPT goes before it.
    """
    from gencli.gating import check_gates, verdict
    from gencli.interrupts import Interrupts
    from gencli.request import request_from
    from gencli.terminal import Messages, Output

    check_gates(context)
    request = request_from(context)
    messages, output = Messages(params["quiet"]), Output(params["output"])
    interrupts = context.find_object(Interrupts) or Interrupts()
    with ExitStack() as cleanup:
        cleanup.callback(output.close)
        renderer, detail = _renderer(params, messages, output)
        cleanup.callback(renderer.close)
        session = request.load()
        from gencli.events import Finished
        from gencli.generation import run

        finished = []
        with interrupts.asking():
            for event in run(session, request.prompt, request.ending(session), request.options(detail, interrupts)):
                renderer.show(event)
                if isinstance(event, Finished):
                    finished.append(event)
    return verdict(context, finished, messages) if interrupts.code is None else interrupts.code


def _renderer(params: dict[str, Any], messages: Messages, output: Output) -> tuple[Renderer, Detail | None]:
    """What reads the events, and how much detail they need for it."""
    from gencli.observation import Detail
    from gencli.renderers import Together
    from gencli.renderers.bars import Bars
    from gencli.renderers.json import Json
    from gencli.renderers.jsonl import Jsonl
    from gencli.renderers.text import Text as TextRenderer
    from gencli.trace import TraceWriter

    asked = params["candidates"]
    product: Renderer
    if params["form"] == "text":
        newline = not params["no_newline"]
        product = TextRenderer(output, echo=params["echo"], newline=newline, separator=params["separator"])
    else:
        product = Json(output, tokens=asked is not None) if params["form"] == "json" else Jsonl(output)
    bars = Bars(params["bars"], messages, output)
    renderers: list[Renderer] = [product, bars]
    count = DEFAULT_CANDIDATES if asked is None else None if asked == "all" else int(asked)
    if params["trace"] is not None:
        renderers.append(TraceWriter(params["trace"]))
    if params["trace"] is not None or params["form"] != "text":
        return Together(*renderers), Detail(candidates=count, logits=params["trace"] is not None)
    return Together(*renderers), Detail(candidates=count, because=False, wanted=bars.wants_detail)
