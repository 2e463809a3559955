"""Turns stage knobs into click options, and holds the options that many commands share. Knows no stage.

Every option reads `GENCLI_<FLAG>` where the flag is absent. `settings_from` hands on what was asked of
the pipeline, with its origin; the other values stand in click's own `context.params`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from gencli.option_types import KnobValue, Name, Number, OneOf, Option, ParamType, StageList, Text, spoken, variable_of
from gencli.preset import Value
from gencli.registry import find, names
from gencli.settings import ENVIRONMENT, Given
from gencli.stages import aliases, knobs, spellings

LARGEST_SEED = 2**63 - 1
MOST_THREADS = 1024
GATES = ("loop", "length", "time")
SETTINGS = ("stop", "max_new_tokens")  # options that set what a preset may say beside its pipeline
ENVIRONMENT_NOTE = "Flags can also be set in the environment, --top-k as GENCLI_TOP_K; a flag given here wins."

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]


def option(
    flag: str,
    section: str,
    type: ParamType | None,
    help: str,
    name: str | None = None,
    short: str | None = None,
    also: Sequence[str] = (),
    **attributes: Any,
) -> Decorator[Any]:
    """An option with its environment variable (--top-k reads GENCLI_TOP_K); without a type it is a switch.

    `name` is the parameter's where the flag's own will not do, `short` a second spelling (-o), `also` further ones.
    """
    attributes |= {"is_flag": True} if type is None else {"type": type}
    spellings = [each for each in (flag, *also, short, name) if each]
    return click.option(*spellings, cls=Option, section=section, help=help, envvar=variable_of(flag), **attributes)


def all_of(*decorators: Decorator[Any]) -> Decorator[Any]:
    """Several decorators as one; click lists their options in the order they stand here."""

    def decorate(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def complete_presets(incomplete: str) -> list[str]:
    """The names of presets, for the shell."""
    from gencli.preset_folders import preset_names

    return preset_names()


def complete_checkpoints(incomplete: str) -> Iterable[str]:
    """The names of checkpoints, for the shell."""
    from gencli.catalogue import checkpoint_names

    return checkpoint_names()


def _devices(incomplete: str) -> Iterable[str]:
    from gencli.loading import DEVICES

    return DEVICES


def _stage_lists(incomplete: str) -> list[str]:
    """What may follow the last comma: a,b, -> a,b,temperature ..."""
    before = "".join(incomplete.rpartition(",")[:2])
    return [before + name for name in names("stages")]


def _stage_knobs(incomplete: str) -> list[str]:
    """Stages; after a dot, their knobs: top_k= ... top_k.k= ..."""
    match = re.fullmatch(r"(([a-z_]+)(#[0-9]+)?)\..*", incomplete)
    if match is None:
        return [f"{name}=" for name in names("stages")]
    stage = spellings().get(match[2])
    return [f"{match[1]}.{each.name}=" for each in knobs(find("stages", stage))] if stage else []


def _stage_option(stage: str) -> Decorator[Any]:
    knob = knobs(find("stages", stage))[0]
    help = f"{knob.help} ({'several' if knob.holds_several else knob.range()})"
    also = [flag_of(alias) for alias in aliases(stage)]
    return option(flag_of(stage), "Pipeline", KnobValue(knob), help, stage, also=also, multiple=knob.holds_several)


def flag_of(stage: str) -> str:
    """How a stage's first knob is set on the command line: top_k -> --top-k."""
    return f"--{stage.replace('_', '-')}"


def stage_options(function: Function) -> Function:
    """--temperature, --top-k ...: the first knob of every stage; --set for any knob; --pipeline for the order."""
    stages = sorted(names("stages"), key=lambda name: (find("stages", name).place, name))
    any_knob = "Set any knob of any stage; without a knob, the first one. [several]"
    order = "Keep exactly these stages, in this order; their knobs come from flags, preset and defaults."
    decorated: Function = all_of(
        *map(_stage_option, stages),
        option("--set", "Pipeline", Name(_stage_knobs), any_knob, "sets", multiple=True, metavar="STAGE[#N][.KNOB]=VALUE"),
        option("--pipeline", "Pipeline", StageList(_stage_lists), order, metavar="STAGE,..."),
    )(function)
    return decorated


def pipeline_options(function: Function) -> Function:
    """--preset and everything of `stage_options`."""
    help = "A preset by name (`gencli presets list`), or a YAML file: what has a / or ends in .yaml or .yml."
    preset = option("--preset", "Pipeline", Name(complete_presets, files=True), help, metavar="NAME|PATH")
    decorated: Function = preset(stage_options(function))
    return decorated


def checkpoint_option(function: Function) -> Function:
    """--checkpoint alone, for commands that run no model."""
    help = "A checkpoint by name (`gencli checkpoints list`), or the path of its folder. [default: the embedded one]"
    decorated: Function = option("--checkpoint", "Model", Name(complete_checkpoints, files=True), help, metavar="NAME|PATH")(function)
    return decorated


def model_options(function: Function) -> Function:
    """--checkpoint, --precision, --device, --threads."""
    precisions, threads = OneOf("auto", *names("precisions")), Number(f"from 1 to {MOST_THREADS}", low=1, high=MOST_THREADS)
    lossless = "How the weights are held; auto never chooses a lossy way. [default: auto]"
    device = "Where the model runs: auto, cpu, cuda or mps. [default: cpu]"
    decorated: Function = all_of(
        checkpoint_option,
        option("--precision", "Model", precisions, lossless, default="auto"),
        option("--device", "Model", Name(_devices), device, default="cpu", metavar="NAME"),
        option(
            "--threads",
            "Model",
            threads,
            f"How many CPU threads compute. [1 to {MOST_THREADS}; default: 1 for a small model and few samples, else torch's choice]",
        ),
    )(function)
    return decorated


def variation_options(function: Function) -> Function:
    """--preset, several; --set with lists; --variant; and every flag of `stage_options`, for all of them."""
    presets = "A preset by name (`gencli presets list`), or a YAML file; each is a setting. [several]"
    variant = "One more setting: the first one with these changed; --set temperature=0.5,1 makes one of each value. [several]"
    decorated: Function = all_of(
        option("--preset", "Pipeline", Name(complete_presets, files=True), presets, "presets", multiple=True, metavar="NAME|PATH"),
        option("--variant", "Pipeline", Name(_stage_knobs), variant, "variants", multiple=True, metavar="STAGE=VALUE,..."),
        stage_options,
    )(function)
    return decorated


def run_options(function: Function) -> Function:
    """The noise, the samples, and what ends a run."""
    decorated: Function = sampling_options()(function)
    return decorated


def sampling_options(samples: int = 1, tokens: int | None = None) -> Decorator[Any]:
    """`run_options` with other defaults: how many samples, and how many tokens where no preset says (None: 256 or what fits)."""
    whose = "each setting writes, on as many noises" if tokens else "to write"
    texts = option("--samples", "Run", _count, f"How many texts {whose}. [at least 1; default: {samples}]", default=samples)
    longest = f"Longest text, in tokens. [at least 1; default: the preset's, else {tokens or '256 or what still fits'}]"
    return all_of(_SEED, texts, *_NOISE, option("--max-new-tokens", "Run", _count, longest), *_LIMITS)


_key = Number("from 0 to 2^63-1", low=0, high=LARGEST_SEED)
_count = Number("at least 1", low=1)
_seconds = Number("a number of seconds greater than 0", low=0, whole=False, open=True)

_SEED = option("--seed", "Run", _key, "The same seed repeats a run. [0 to 2^63-1; drawn and told when absent]")

_NOISE = (
    option("--first-sample", "Run", _key, "Number of the first: sample 3 alone is sample 3 of 8. [at least 0; default: 0]", default=0),
    option("--no-cache", "Run", None, "Recompute everything at each step: the same tokens, slowly."),
    option(
        "--overflow",
        "Run",
        OneOf("error", "slide"),
        "When the context is full: end there, or let the oldest tokens go. [default: error]",
        default="error",
    ),
)

_SAVED = (  # what a preset may hold as well
    option(
        "--stop",
        "Run",
        Text(whole=True),
        r"End before this text, taken as it is; in bash a line break is $'\n'. [several; they replace the preset's]",
        multiple=True,
    ),
)

_LIMITS = (
    *_SAVED,
    option("--stop-inclusive", "Run", None, "Keep the stop text at the end of the output."),
    option("--ignore-end", "Run", None, "Go on where the model ends its text."),
    option("--time-limit", "Run", _seconds, "End when so much time has passed. [greater than 0]", metavar="SECONDS"),
    option(
        "--fail-on",
        "Run",
        OneOf(*GATES),
        "End with exit code 3 when the text repeats itself (loop), is cut off (length) or takes too long (time). [several]",
        multiple=True,
    ),
    option("--stop-on", "Run", OneOf(*GATES), "The same, with exit code 0. [several]", multiple=True),
    option(
        "--min-prob",
        "Run",
        Number("greater than 0 and at most 1", low=0, high=1, whole=False, open=True),
        "End with exit code 3 at a token less likely than this under the pipeline. [greater than 0, at most 1]",
    ),
    option(
        "--max-entropy",
        "Run",
        Number("a number of bits from 0", low=0, whole=False),
        "End with exit code 3 where the choice is wider than so many bits. [at least 0]",
        metavar="BITS",
    ),
)


def preset_options(function: Function) -> Function:
    """Everything that a preset may hold and a flag may say: --preset, the pipeline, the length and the stop strings."""
    decorated: Function = pipeline_options(all_of(*_SAVED)(function))
    return decorated


def prompt_options(function: Function) -> Function:
    """The PROMPT argument and how a prompt is read."""
    decorated: Function = all_of(
        click.argument("prompt", required=False),
        option("--prompt-file", "Prompt", click.Path(), "Read the prompt from a file.", metavar="FILE"),
        option("--no-stdin", "Prompt", None, "Leave stdin alone."),
        option("--keep-newline", "Prompt", None, "Keep the line break at the end of stdin or of the file."),
        option("--special", "Prompt", None, "Special-token text in the prompt is special, and generated special tokens are printed."),
    )(function)
    return decorated


def chat_options(function: Function) -> Function:
    """--chat, and --system for its first message; `request.py` reads them."""
    chat = "The prompt is a message: the checkpoint's chat template puts it into the form it was taught."
    decorated: Function = all_of(
        option("--chat", "Prompt", None, chat),
        option("--system", "Prompt", Text(whole=True), "With --chat: how to behave, said before the message.", metavar="TEXT"),
    )(function)
    return decorated


def settings_from(context: click.Context) -> Given:
    """What the command line and the environment ask of the pipeline and its limits, with origins."""
    asked = {name: value for name in context.params if (value := _asked(name, context))}
    sets = asked.get("sets")
    return Given(
        preset=context.params.get("preset"),
        flags={name: value for name, value in asked.items() if name in SETTINGS or name in names("stages")},
        sets=[Value(text, sets.origin) for text in sets.value] if sets else [],
        pipeline=asked.get("pipeline"),
    )


def _asked(name: str, context: click.Context) -> Value | None:
    """A parameter's value with "flag --top-k" or "environment GENCLI_TOP_K", or None if nobody gave it."""
    source = context.get_parameter_source(name)
    if source not in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
        return None
    return Value(context.params[name], origin_of(name, context))


def origin_of(name: str, context: click.Context) -> str:
    """Where a parameter's value comes from: "flag --top-k" or "environment GENCLI_TOP_K"."""
    parameter = next(each for each in context.command.params if each.name == name)
    kind = "flag" if context.get_parameter_source(name) is ParameterSource.COMMANDLINE else ENVIRONMENT
    return f"{kind} {spoken(parameter, context)}"
