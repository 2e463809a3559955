"""Gates out of options: which endings of a run exit with 3, and the sentence that says so. Runs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import click
from click.core import ParameterSource

from gencli.errors import UsageError
from gencli.events import REASONS

if TYPE_CHECKING:
    from gencli.terminal import Messages

GATE_TRIPPED = 3  # the exit code
CUT_OFF = {"length": ("length", "context")}  # a full context cuts a text off as well


class Ended(Protocol):
    """A text that ended: which sample, why, and which stop string, end token or gate it was."""

    @property
    def sample(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def stop(self) -> str | None: ...


def check_gates(context: click.Context) -> None:
    """Refuse a gate that cannot trip, and one that is to trip both ways; raises `UsageError`."""
    params = context.params
    for flag, name in (("--fail-on", "fail_on"), ("--stop-on", "stop_on")):
        if "time" in params[name] and params["time_limit"] is None:
            raise UsageError(f"{flag} time needs --time-limit SECONDS: without one no run takes too long.")
    both = sorted(set(params["fail_on"]) & set(params["stop_on"]))
    if both and _typed(context, "fail_on") == _typed(context, "stop_on"):
        raise UsageError(f"--fail-on {both[0]} exits with 3 and --stop-on {both[0]} with 0; give one of them.")


def failing(context: click.Context) -> dict[str, str]:
    """The reasons of a finish that mean exit code 3, each with the flag that says so; a flag wins over the environment."""
    params = context.params
    weaker = _typed(context, "stop_on") and not _typed(context, "fail_on")
    named = [name for name in params["fail_on"] if not (weaker and name in params["stop_on"])]
    found = {reason: f"--fail-on {name}" for name in named for reason in CUT_OFF.get(name, (name,))}
    gates = [flag for flag, name in (("--min-prob", "min_prob"), ("--max-entropy", "max_entropy")) if params[name] is not None]
    return {**found, **({"gate": " ".join(gates)} if gates else {})}


def verdict(context: click.Context, finished: Iterable[Ended], messages: Messages) -> int:
    """The exit code of a run that came to its end; where a gate failed it, one sentence a reason says so."""
    ended = list(finished)
    code = 0
    for reason, flag in failing(context).items():
        those = [each for each in ended if each.reason == reason]
        if those:
            code = GATE_TRIPPED
            messages.error(_sentence(reason, flag, those, len(ended)))
    return code


def _sentence(reason: str, flag: str, those: Sequence[Ended], texts: int) -> str:
    where = "" if texts == 1 else f"sample {those[0].sample}: " if len(those) == 1 else f"{len(those)} of {texts} texts: "
    first = those[0].stop
    which = "" if not first else f" ({first})" if len(those) == 1 else f" (sample {those[0].sample}: {first})"
    return f"{where}{REASONS[reason]}{which}; {flag} exits with {GATE_TRIPPED}."


def _typed(context: click.Context, name: str) -> Any:
    """Whether a person typed the option, and not the environment."""
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE
