"""What an option's text may be: names, words, numbers, a stage's knob. Knows no option and no stage.

A value that does not fit raises a `UsageError` that names what was typed: the flag or the environment variable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from gencli.errors import UsageError, unknown
from gencli.preset_yaml import scalar, shown
from gencli.settings import item_of, value_of
from gencli.stages import Knob

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    ParamType = click.ParamType[Any, Any]
else:
    ParamType = click.ParamType  # click 8.1 has it without type parameters


def spoken(parameter: click.Parameter | None, context: click.Context | None) -> str:
    """What a person typed to set a parameter: the flag, the environment variable or the argument's name."""
    if parameter is None:
        return "the value"
    source = context.get_parameter_source(parameter.name or "") if context else None
    if source is click.core.ParameterSource.ENVIRONMENT and isinstance(parameter.envvar, str):
        return parameter.envvar
    if isinstance(parameter, click.Option):
        return next((flag for flag in parameter.opts if flag.startswith("--")), parameter.opts[0])
    return (parameter.name or "").upper()


class Text(ParamType):
    """A text that is not empty and is UTF-8. `whole`: in the environment it is one value, spaces and all."""

    name = "text"

    def __init__(self, whole: bool = False) -> None:
        self.whole = whole

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value:
            raise UsageError(f"{spoken(param, ctx)} must not be empty.")
        if any("\ud800" <= character <= "\udfff" for character in value):  # how Python carries undecodable bytes
            raise UsageError(f"{spoken(param, ctx)} is not UTF-8 text.")
        return str(value)

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        return [rv] if self.whole else rv.splitlines()


class Name(Text):
    """A text that the shell completes from a list, which is made when it is needed."""

    def __init__(self, complete: Callable[[str], Iterable[str]], files: bool = False) -> None:
        super().__init__()
        self.complete, self.files = complete, files

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        if self.files and ("/" in incomplete or incomplete.startswith((".", "~"))):
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(word) for word in self.complete(incomplete) if word.startswith(incomplete)]


class OneOf(ParamType):
    """One of a few words."""

    name = "choice"

    def __init__(self, *choices: str) -> None:
        self.choices = choices

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join(self.choices)}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices:
            raise unknown(f"value of {spoken(param, ctx)}", shown(str(value)), self.choices)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(word) for word in self.choices if word.startswith(incomplete)]


class Number(ParamType):
    """A number with low <= n <= high (`open`: low < n), whole or not; `words` tell the range."""

    def __init__(self, words: str, *, low: float, high: float = float("inf"), whole: bool = True, open: bool = False) -> None:
        self.words, self.low, self.high, self.whole, self.open = words, low, high, whole, open
        self.name = "n" if whole else "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | float:
        number: Any = scalar(value.strip()) if isinstance(value, str) else value
        if not self._fits(number):
            kind = "a whole number " if self.whole else ""
            raise UsageError(f"{spoken(param, ctx)} must be {kind}{self.words}, not {shown(str(value))!r}.")
        return int(number) if self.whole else float(number)

    def _fits(self, number: Any) -> bool:
        if type(number) is not int and (self.whole or type(number) is not float):
            return False
        return bool(math.isfinite(number) and self.low <= number <= self.high and not (self.open and number == self.low))


class KnobValue(ParamType):
    """What a stage's knob accepts; of a map, one pair, and of words, one word."""

    def __init__(self, knob: Knob) -> None:
        self.knob = knob
        self.name = {"float": "number", "int": "n", "map": "text_or_id=number", "words": "text_or_id"}.get(knob.kind, knob.kind)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join(self.knob.choices)}]" if self.knob.choices else self.name.upper()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        label = spoken(param, ctx)
        if not isinstance(value, str):
            return value
        if self.knob.holds_several:
            item = item_of(self.knob, value, label)
            self.knob.check([item], label)
            return item
        return self.knob.check(value_of(self.knob, value, label), label)

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        return rv.splitlines()


class StageList(Name):
    """Stage names between commas; an empty text is the empty pipeline."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert(value, param, ctx) if value else ""


class Option(click.Option):
    """An option that stands in a section of the help."""

    def __init__(self, *args: Any, section: str = "Options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


def variable_of(flag: str) -> str:
    """The environment variable that stands for a flag: --top-k -> GENCLI_TOP_K."""
    return "GENCLI_" + flag.removeprefix("--").replace("-", "_").upper()


class Command(click.Command):
    """A command whose help lists its own options first, then the shared ones section by section; every option has its variable."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for each in self.params:
            if isinstance(each, click.Option) and each.envvar is None:
                each.envvar = variable_of(next(flag for flag in each.opts if flag.startswith("--")))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


class Group(click.Group):
    """A group that answers an unknown or missing subcommand with the choices and the nearest name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            raise UsageError(f"{ctx.command_path} needs a command. Choices: {', '.join(self.list_commands(ctx))}.")
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise unknown(f"{ctx.command_path} command", shown(args[0]), self.list_commands(ctx))
        return super().resolve_command(ctx, args)
