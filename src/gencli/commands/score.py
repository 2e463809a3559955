"""`gencli score`: how likely a text is, token by token, and whether a preset could have produced it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gencli.errors import UsageError
from gencli.option_types import Command, OneOf, Text
from gencli.options import all_of, chat_options, model_options, option, pipeline_options, settings_from

if TYPE_CHECKING:
    from gencli.preset import Preset
    from gencli.prompting import Prompt
    from gencli.scores import Score, ScoredToken
    from gencli.terminal import Output

SECTION = "Options"
GATE_TRIPPED = 3
COLUMNS = ("place", "id", "text", "raw_logprob", "surprisal", "rank", "raw_entropy", "varentropy", "logprob", "removed_by", "because")

EXAMPLES = """\b
Examples:
  gencli score "Once upon a time, there was a little girl."
  gencli score --prompt "The capital of France is" " Paris"
  gencli score --chat --prompt "What do you like to eat?" "I like soup."
  gencli score --preset creative --file story.txt
  gencli score --top-p 0.9 --fail-on unreachable --file answer.txt > scores.txt || echo unreachable
  gencli score --format csv --file book.txt > tokens.csv
"""

own_options = all_of(
    click.argument("text", required=False),
    option("--file", SECTION, click.Path(), "Score the text of a file.", metavar="FILE"),
    option("--prompt", SECTION, Text(whole=True), "What stands before the text; it is not scored.", metavar="TEXT"),
    option("--keep-newline", SECTION, None, "Keep the line break at the end of stdin or of the file."),
    option("--special", SECTION, None, "Special-token text is special."),
    option("--format", SECTION, OneOf("text", "json", "jsonl", "csv"), "How to write it. [default: text]", "form", default="text"),
    option("--fail-on", SECTION, OneOf("unreachable"), "End with exit code 3 where the preset could not have produced the text."),
    option("--quiet", SECTION, None, "No progress on stderr.", short="-q"),
)


@click.command(cls=Command, epilog=EXAMPLES, short_help="How likely a text is, and whether a preset could have written it.")
@own_options
@chat_options
@pipeline_options
@model_options
@click.pass_context
def score(context: click.Context, /, form: str, **params: Any) -> int:
    """How likely TEXT is: log-probability, bits per byte, perplexity, and each token's surprisal and rank.

    Without TEXT, or with -, stdin is scored. With a --preset, or stages by their flags: whether it could have produced the text
    along the tokenizer's own tokens, the first token that blocks it, and the smallest change that lets it through. With --chat,
    --prompt is a message and TEXT its answer.
    """
    from gencli.catalogue import find_checkpoint
    from gencli.formats import open_checkpoint
    from gencli.prompting import Prompt
    from gencli.request import Request, check_chat, request_of, typed
    from gencli.settings import resolve

    check_chat(context)
    if params["chat"] and not params["prompt"] and typed("chat", context):
        raise UsageError("--chat takes --prompt as the message that TEXT answers; give --prompt too.")
    checkpoint = open_checkpoint(find_checkpoint(params["checkpoint"]))
    preset = resolve(settings_from(context), {})
    preset.stages()  # a value out of range is told before anything is loaded
    asked = bool(preset.pipeline) or params["preset"] is not None or params["pipeline"] is not None
    if params["fail_on"] and not asked:
        raise UsageError("--fail-on unreachable needs a --preset, or a stage by its flag, that could have produced the text.")
    text, prompt = _text(params), Prompt.of(params["prompt"] or "", params["special"])
    before = request_of(prompt, preset, params, checkpoint) if prompt.text else Request(prompt, preset, params, checkpoint.bytes)
    session = before.load()
    from gencli.terminal import Output
    from gencli.walking import GivenText

    given, output = GivenText.of(session, text, before.prompt), Output()
    found = _scored(session, given, before.ending(session) if asked else None, params["quiet"], _writer(form, output))
    if form == "text":
        output.styled("\n".join(_lines(found, preset.name, output)) + "\n")
    elif form == "json":
        from gencli.events import dumps

        output.write(dumps({**found.figures(), "tokens": [token.to_dict() for token in found.tokens]}) + "\n")
    elif form == "jsonl":
        from gencli.events import dumps

        output.write(dumps({"event": "score", **found.figures()}) + "\n")
    unreachable = found.reach is not None and not found.reach.reachable
    return GATE_TRIPPED if params["fail_on"] and unreachable else 0


def _text(params: dict[str, Any]) -> Prompt:
    """What is scored."""
    import sys

    from gencli.prompting import read_prompt
    from gencli.request import LONGEST_INPUT

    argument, file = params["text"], params["file"]
    if argument not in (None, "-") and file is not None:
        raise UsageError("TEXT and --file both name a text; give one of them.")
    text = read_prompt(
        argument,
        prompt_file=file,
        stdin=sys.stdin.buffer if sys.stdin is not None else None,
        no_stdin=argument not in (None, "-"),
        keep_newline=params["keep_newline"],
        special=params["special"],
        limit_bytes=LONGEST_INPUT,
        word="text",
        flag="--file",
    )
    if not text.text:
        raise UsageError("there is nothing to score: the text is empty.")
    return text


def _scored(session: Any, given: Any, preset: Preset | None, quiet: bool, write: Any) -> Score:
    """The score, with every token written as it comes, and a bar on stderr where it takes long."""
    from gencli.progress import Progress
    from gencli.scoring import score_given
    from gencli.terminal import Messages

    progress, total = Progress(Messages(quiet)), len(given.ids)

    def told(token: ScoredToken) -> None:
        write(token)
        progress.share("scoring", token.place + 1, total)
        if preset is not None and token.place == total - 1:
            progress.share("looking for what would let it through", total, total)

    try:
        return score_given(session, given, preset, told)
    finally:
        progress.clear()


def _writer(form: str, output: Output) -> Any:
    """Writes one token at once, where the form has a line a token."""
    if form == "jsonl":
        from gencli.events import dumps

        return lambda token: output.write(dumps({"event": "scored", **token.to_dict()}) + "\n")
    if form != "csv":
        return lambda token: None
    import csv
    import io

    def line(values: Any) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(values)
        output.write(text.getvalue())

    line(COLUMNS)
    return lambda token: line(["" if (value := getattr(token, name)) is None else value for name in COLUMNS])


def _lines(found: Score, preset: str | None, output: Output) -> list[str]:
    """Where there are colours the text in them, else a row a token; then the figures."""
    from gencli.bar import Palette
    from gencli.score_report import figure_lines, painted, token_rows
    from gencli.tables import width_of
    from gencli.terminal import colour_of

    colour = colour_of(output.terminal)
    palette = Palette(colour)
    tokens = token_rows(found.tokens, palette) if colour == "none" else painted(found.tokens, palette)
    return [*tokens, "", *figure_lines(found, width_of(output), preset)]
