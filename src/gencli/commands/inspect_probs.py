"""`gencli inspect-probs`: distributions of the next token, raw and after every stage; fixed answers; orders of the stages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from gencli.errors import UsageError
from gencli.option_types import Command, Number, OneOf, Text
from gencli.options import LARGEST_SEED, all_of, chat_options, model_options, option, pipeline_options, prompt_options

if TYPE_CHECKING:
    from gencli.inspection import Inspected, Outcome
    from gencli.loading import Session
    from gencli.preset import Preset
    from gencli.request import Request
    from gencli.scores import ScoredChoice
    from gencli.terminal import Output

SECTION = "Options"

EXAMPLES = """\b
Examples:
  gencli inspect-probs "Once upon a"
  gencli inspect-probs --preset creative --top 20 "Once upon a"
  gencli inspect-probs --preset chat --steps 5 --along sampled --seed 7 "Hello"
  gencli inspect-probs --preset creative --text " time, there" "Once upon a"
  gencli inspect-probs --chat --steps 5 "What do you like to eat?"
  gencli inspect-probs --choices " cat, dog, dragon" "The girl had a pet"
  gencli inspect-probs --preset creative --order-what-if "Once upon a"
  gencli inspect-probs --top-k 5 --format csv "The" > probabilities.csv
"""

own_options = all_of(
    option("--top", SECTION, Number("at least 1", low=1), "How many of the likeliest tokens. [default: 10]", default=10),
    option(
        "--steps",
        SECTION,
        Number("at least 1", low=1),
        "So many steps, each with the token that comes next. [default: 1, or all of --text]",
    ),
    option("--along", SECTION, OneOf("greedy", "sampled"), "What comes next: the pipeline's likeliest, or a draw. [default: greedy]"),
    option("--text", SECTION, Text(whole=True), "What comes next: this text, token by token.", metavar="TEXT"),
    option("--seed", SECTION, Number("from 0 to 2^63-1", low=0, high=LARGEST_SEED), "The noise of --along sampled, as in generate."),
    option("--choices", SECTION, Text(whole=True), "Instead: how likely these answers are; commas part them, spaces belong to them."),
    option("--choice", SECTION, Text(whole=True), "One such answer, commas and all. [several]", multiple=True),
    option("--order-what-if", SECTION, None, "Instead: what every other order of the stages would keep."),
    option("--format", SECTION, OneOf("table", "json", "csv"), "How to write it. [default: table]", "form", default="table"),
)


@click.command("inspect-probs", cls=Command, epilog=EXAMPLES, short_help="The next token, before and after each stage.")
@prompt_options
@chat_options
@own_options
@pipeline_options
@model_options
@click.pass_context
def inspect_probs(context: click.Context, /, **params: Any) -> None:
    """What may come after PROMPT: the likeliest tokens, their probability under the model alone and after each stage.

    A token that a stage removed is struck out and says which; csv and json also give the numbers that decided.
    """
    from gencli.request import request_from

    answers = [*_split(params["choices"]), *params["choice"]]
    _refuse_both(answers, params)
    request = request_from(context)
    session = request.load()
    from gencli.terminal import Output

    output, form, preset = Output(), params["form"], request.ending(session)
    if answers:
        from gencli.scoring import score_choices

        found = score_choices(session, answers, preset, prompt=request.prompt)
        {"table": _choice_table, "json": _choice_json, "csv": _choice_csv}[form](found, bool(request.preset.pipeline), output)
    elif params["order_what_if"]:
        from gencli.inspection import orders

        outcomes = orders(session, request.prompt, preset, params["seed"] or 0)
        {"table": _order_table, "json": _order_json, "csv": _order_csv}[form](outcomes, output)
    else:
        several = params["steps"] is not None or params["text"] is not None or params["along"] is not None
        steps = _steps(session, request, preset)
        {"table": _write_table, "json": _write_json, "csv": _write_csv}[form](steps, several, params["top"], output)


def _split(text: str | None) -> list[str]:
    answers = [] if text is None else text.split(",")
    if not all(answers):
        raise UsageError(f"--choices must be answers between commas, none of them empty, not {text!r}.")
    return answers


def _refuse_both(answers: Sequence[str], params: dict[str, Any]) -> None:
    """Two questions at once, one of which would go unanswered."""
    stepping = {"--steps": params["steps"], "--along": params["along"], "--text": params["text"]}
    asked = [flag for flag, value in stepping.items() if value is not None]
    other = ["--choices or --choice"] * bool(answers) + ["--order-what-if"] * params["order_what_if"]
    if len(other) > 1 or (other and asked):
        raise UsageError(f"{other[0]} and {(other + asked)[1]} ask for different things; give one of them.")
    if params["text"] is not None and params["along"] is not None:
        raise UsageError("--text and --along both say what comes next; give one of them.")


def _steps(session: Session, request: Request, preset: Preset) -> Iterable[Inspected]:
    from gencli.inspection import inspect
    from gencli.observation import Detail
    from gencli.walking import GivenText

    params = request.params
    detail, along, steps = Detail(candidates=params["top"], after=True), params["along"] or "greedy", params["steps"] or 1
    if params["text"] is not None:
        along = GivenText.of(session, params["text"], request.prompt).ids
        steps = params["steps"] or len(along)
    return inspect(session, request.prompt, preset, detail, steps=steps, along=along, seed=params["seed"])


def _shown(step: Inspected, several: bool, top: int) -> Any:
    """The candidates to be shown: where there is no step after it, the token that was taken only to look is none of them."""
    candidates = step.token.candidates or ()
    return candidates if several else candidates[:top]


def _styled(lines: Iterable[str], output: Output) -> None:
    output.styled("\n".join(lines) + "\n")


def _palette(output: Output) -> Any:
    from gencli.bar import Palette
    from gencli.terminal import colour_of

    return Palette(colour_of(output.terminal))


def _write_table(steps: Iterable[Inspected], several: bool, top: int, output: Output) -> None:
    from gencli.bar import label
    from gencli.distribution import distribution_lines
    from gencli.scores import BITS
    from gencli.tables import width_of

    palette, width = _palette(output), width_of(output)
    for step in steps:
        token = step.token
        if several:
            name = label(token.bytes.decode("utf-8", "replace"), token.id)
            bits = f"{-(token.raw_logprob or 0.0) * BITS:.2f} bits, rank {token.rank}"
            _styled([*[""] * (token.step > 0), palette("head", f"step {token.step + 1}: {name}") + palette("faint", f"  {bits}")], output)
        lines = distribution_lines(
            _shown(step, several, top),
            token.stages or (),
            width,
            palette,
            raw_entropy=token.raw_entropy,
            varentropies=step.varentropies,
            chosen=token.id if several else None,
        )
        _styled(lines, output)


def _write_json(steps: Iterable[Inspected], several: bool, top: int, output: Output) -> None:
    from gencli.events import dumps, to_dict
    from gencli.scores import BITS

    found = []
    for step in steps:
        whole = to_dict(step.token)
        stages = [{**stage, "varentropy": value} for stage, value in zip(whole["stages"], step.varentropies[1:], strict=True)]
        figures = {"raw_entropy": whole["raw_entropy"], "raw_varentropy": step.varentropies[0], "entropy": whole["entropy"]}
        taken = ("step", "id", "text", "bytes", "raw_logprob", "logprob", "rank") if several else ()
        own = {name: None if whole[name] == -float("inf") else whole[name] for name in taken}
        own |= {"surprisal": -whole["raw_logprob"] * BITS} if several else {}
        found.append({**own, **figures, "stages": stages, "candidates": whole["candidates"][: None if several else top]})
    output.write(dumps({"steps": found} if several else found[0]) + "\n")


def _write_csv(steps: Iterable[Inspected], several: bool, top: int, output: Output) -> None:
    import math

    rows: list[list[Any]] = []
    for step in steps:
        token = step.token
        if not rows:
            columns = [f"after {report.stage}" for report in token.stages or ()]
            head = ["id", "text", "raw_prob", "surprisal", *columns, "prob", "removed_by", "because"]
            rows.append([*["step", "chosen"] * several, *head])
        for each in _shown(step, several, top):
            surprisal = -math.log2(each.raw_prob) if each.raw_prob > 0 else math.inf
            own = [token.step, int(each.id == token.id)] if several else []
            figures = [each.raw_prob, surprisal, *(each.after or ()), each.prob]
            rows.append([*own, each.id, each.text, *figures, each.removed_by or "", each.because or ""])
    _csv(rows, output)


def _csv(rows: Iterable[Sequence[Any]], output: Output) -> None:
    import csv
    import io

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    output.write(text.getvalue())


def _choice_table(choices: Sequence[ScoredChoice], staged: bool, output: Output) -> None:
    from gencli.inspection_report import choice_lines
    from gencli.tables import width_of

    _styled(choice_lines(choices, width_of(output), _palette(output), staged), output)


def _choice_json(choices: Sequence[ScoredChoice], staged: bool, output: Output) -> None:
    from gencli.events import dumps

    output.write(dumps({"choices": [choice.to_dict() for choice in choices]}) + "\n")


def _choice_csv(choices: Sequence[ScoredChoice], staged: bool, output: Output) -> None:
    names = ("text", "raw_logprob", "raw_share", "logprob", "share")
    rows = [["" if (value := getattr(choice, name)) is None else value for name in names] for choice in choices]
    _csv([[*names, "tokens"], *([*row, len(choice.tokens)] for row, choice in zip(rows, choices, strict=True))], output)


def _order_table(outcomes: Sequence[Outcome], output: Output) -> None:
    from gencli.inspection_report import order_lines
    from gencli.tables import width_of

    _styled(order_lines(outcomes, width_of(output), _palette(output)), output)


def _order_json(outcomes: Sequence[Outcome], output: Output) -> None:
    from dataclasses import asdict

    from gencli.events import dumps

    output.write(dumps({"outcomes": [asdict(outcome) for outcome in outcomes]}) + "\n")


def _order_csv(outcomes: Sequence[Outcome], output: Output) -> None:
    rows = [
        [number, outcome.kept, outcome.mass, outcome.entropy, int(outcome.own and at == 0), " > ".join(order)]
        for number, outcome in enumerate(outcomes, 1)
        for at, order in enumerate(outcome.orders)
    ]
    _csv([["result", "kept", "mass", "entropy", "own", "order"], *rows], output)
