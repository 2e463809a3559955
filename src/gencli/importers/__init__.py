"""The shelf of importers: another program's settings -> a preset. Here is their contract; one file holds one program.

`importers/llama_cpp.py` holds `LlamaCpp`, which `--from llama.cpp` names. An importer reads the foreign
text and says what it asks for as `Wish`es, in the order of that program's own pipeline, the defaults
of that program included. `carry` makes stages of them as far as gencli has these; what is left over is
named, so that nobody takes a preset for more than it is. Knows no file, no terminal and no tensors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gencli.errors import UsageError
from gencli.preset import Preset, StageSettings, Value
from gencli.preset_reading import check_knob
from gencli.preset_yaml import quoted, shown
from gencli.registry import find, names
from gencli.stages import knobs

MOST_LOST = 200  # sentences; who is left with more has no preset anyway
LONGEST_LINE = 300  # characters of a comment


@dataclass(frozen=True)
class Wish:
    """One stage that the foreign settings ask for; "" among the knobs is the stage's first one.

    `said` is how the source puts it ("--top-k 40"), for sentences; `origin` tells where it stands.
    """

    stage: str
    knobs: Mapping[str, Any]
    said: str
    origin: str


@dataclass
class Report:
    """What an importer found: stages in order, settings of the preset, and what no preset can say.

    `lost` are sentences about what changes the text that is drawn; `aside` are the names of settings
    that are no matter of a preset (the model, the machine, the prompt).
    """

    wishes: list[Wish] = field(default_factory=list)
    settings: dict[str, Value] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Imported:
    """A preset that draws as the foreign settings do, but for what `lost` names."""

    preset: Preset
    lost: tuple[str, ...]
    aside: tuple[str, ...]

    def dumps(self) -> str:
        """The preset as YAML, with what it does not hold in comments at its head."""
        lines = [f"differs: {each}" for each in self.lost]
        if self.aside:
            lines.append(f"left aside, as no matter of a preset: {', '.join(self.aside)}")
        return "".join(f"# {_comment(line)}\n" for line in lines) + self.preset.dumps()


class Importer(Protocol):
    """What every importer offers; `name` is how `--from` says it."""

    name: str

    def recognises(self, text: str) -> bool:
        """Whether a text looks like this program's settings; used for `--from auto`."""
        ...

    def read(self, text: str, where: str) -> Report:
        """What the text asks for; raises `UsageError`, beginning with `where` and the line."""
        ...


def sources() -> dict[str, Importer]:
    """Every importer under the name that `--from` knows."""
    found: list[Importer] = [find("importers", name)() for name in names("importers")]
    return {each.name: each for each in found}


def recognised(text: str, where: str) -> Importer:
    """The importer that a text looks made for; raises `UsageError` where that is none, or not one alone."""
    known = sources()
    found = [each for each in known.values() if each.recognises(text)]
    if len(found) != 1:
        what = f"looks like {' and '.join(each.name for each in found)} alike" if found else "does not look like settings of any of them"
        raise UsageError(f"{where} {what}; say with --from which it is: {', '.join(known)}.")
    return found[0]


def carry(report: Report, description: str) -> Imported:
    """The preset that a report asks for, and what of it gencli cannot say."""
    lost = list(report.lost)
    pipeline = []
    for wish in report.wishes:
        try:
            pipeline.append(stage_of(wish, lost.append))
        except (UsageError, OverflowError) as error:
            lost.append(f"{wish.said}: gencli draws without it, because {error}")
    stages, settings = tuple(filter(None, pipeline)), tuple(report.settings.items())
    preset = Preset(description=description, pipeline=stages, settings=settings)
    return Imported(preset, tuple(dict.fromkeys(lost))[:MOST_LOST], tuple(dict.fromkeys(report.aside)))


def stage_of(wish: Wish, lost: Callable[[str], object]) -> StageSettings | None:
    """The stage of a wish, or None where gencli has none; `lost` hears a sentence about what is missing.

    Raises `UsageError` for a value that the stage does not take.
    """
    if wish.stage not in names("stages"):
        lost(f"{wish.said}: gencli has no stage {wish.stage}, so it draws without it.")
        return None
    known = [each.name for each in knobs(find("stages", wish.stage))]
    settings = StageSettings(wish.stage, origin=wish.origin)
    for name, value in wish.knobs.items():
        knob = name or known[0]
        if knob in known:
            settings = settings.with_knob(knob, Value(check_knob(wish.stage, knob, value), wish.origin))
        else:
            lost(f"{wish.said}: gencli's {wish.stage} has no knob {knob}, so that stays as gencli has it.")
    return settings


def number(text: str, label: str, *, whole: bool) -> int | float:
    """A number as the programs of this shelf write one; raises `UsageError` that names `label`."""
    pattern = r"[-+]?[0-9]{1,18}" if whole else r"[-+]?([0-9]{1,60}(\.[0-9]{0,60})?|\.[0-9]{1,60})([eE][-+]?[0-9]{1,3})?"
    if not re.fullmatch(pattern, text.strip()):
        raise UsageError(f"{label} must be a {'whole ' if whole else ''}number, not {said(text)}.")
    value = int(text) if whole else float(text)
    if abs(value) > 1e300:
        raise UsageError(f"{label} must be a number of a sensible size, not {said(text)}.")
    return value


def said(value: object) -> str:
    """A foreign value as a sentence quotes it: on one line, escapes visible, not longer than a line."""
    return shown(quoted(value) if isinstance(value, str) else str(value))


def checked_text(text: str, where: str) -> str:
    """A foreign text without a byte order mark; raises `UsageError` with the line of a control character."""
    text = text.removeprefix("\ufeff")
    if found := re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]", text):
        line = text.count("\n", 0, found.start()) + 1
        raise UsageError(f"{where}, line {line}: the control character U+{ord(found[0]):04X} has no place in it.")
    return text


def _comment(text: str) -> str:
    text = "".join(each if each.isprintable() else "?" for each in text)
    return text if len(text) <= LONGEST_LINE else text[: LONGEST_LINE - 3] + "..."
