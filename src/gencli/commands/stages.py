"""`gencli stages`: every stage of the pipeline with its knobs. Knows no stage by name."""

from __future__ import annotations

import json
from typing import Any

import click

from gencli.option_types import Command, Name, OneOf
from gencli.options import flag_of
from gencli.registry import find, names

EXAMPLES = """\b
Examples:
  gencli stages
  gencli stages top_p min_p
  gencli stages --format json | jq '.[].stage'
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("stage", nargs=-1, type=Name(lambda incomplete: names("stages")))
@click.option("--format", "form", type=OneOf("table", "json"), default="table", help="How to write them. [default: table]")
def stages(stage: tuple[str, ...], form: str) -> None:
    """Every stage, or those named: its standard place, knobs, defaults, ranges and source.

    A stage that a preset lacks is put at its standard place when a flag names it: before the first stage whose
    place is higher. The first knob of a stage is its flag (--top-k), the others are set with --set stage.knob=value.
    """
    from gencli.errors import unknown
    from gencli.stages import spellings
    from gencli.tables import width_of
    from gencli.terminal import Output

    if strangers := [word for word in stage if word not in spellings()]:
        raise unknown("stage", strangers[0], names("stages"))
    wanted = dict.fromkeys(spellings()[word] for word in stage) or names("stages")
    found = [_described(name, find("stages", name)) for name in wanted]
    found.sort(key=lambda each: each["place"])
    output = Output()
    if form == "json":
        output.write(json.dumps(found, ensure_ascii=False, indent=2) + "\n")
        return
    output.write(as_text(found, width_of(output)))


def as_text(found: list[dict[str, Any]], width: int | None) -> str:
    """A table with a row a knob; a terminal of `width` columns that is too narrow for it gets a paragraph a stage."""
    import textwrap

    from gencli.tables import table

    rows = [_row(each, knob) for each in found for knob in each["knobs"]]
    text = table(("place", "stage", "knob", "default", "neutral", "range", "also", "source"), rows)
    if width is None or max(map(len, text.splitlines())) <= width:
        return text
    paragraphs = []
    for each in found:
        also = [f"Also called: {', '.join(each['also'])}."] if each["also"] else []
        lines = [each["does"], *map(_sentence, each["knobs"]), *also, f"Source: {each['source']}."]
        wrapped = [textwrap.fill(line, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False) for line in lines]
        paragraphs.append("\n".join([f"{each['stage']} (place {each['place']:g}, {each['flag']})", *wrapped]) + "\n")
    return "\n".join(paragraphs)


def _sentence(knob: dict[str, Any]) -> str:
    return f"{knob['name']}, {_text(knob['default'])} by default, {knob['range']}: {knob['help']}"


def _described(name: str, stage: Any) -> dict[str, Any]:
    """A stage as JSON values."""
    import dataclasses

    from gencli.stages import aliases, knobs

    settings = [{**dataclasses.asdict(each), "range": each.range()} for each in knobs(stage)]
    does = " ".join((stage.__doc__ or "").split())
    return {
        "stage": name,
        "place": stage.place,
        "flag": flag_of(name),
        "does": does,
        "also": list(aliases(name)),
        "source": stage.source,
        "knobs": settings,
    }


def _row(stage: dict[str, Any], knob: dict[str, Any]) -> tuple[str, ...]:
    default, neutral = _text(knob["default"]), _text(knob["neutral"])
    also = ", ".join(stage["also"]) or "-"
    return f"{stage['place']:g}", stage["stage"], knob["name"], default, neutral, knob["range"], also, stage["source"]


def _text(value: Any) -> str:
    """A knob's value in a cell; "-" where there is none."""
    if value is None:
        return "-"
    if value == "":
        return "none"
    if isinstance(value, tuple):
        return json.dumps(value, ensure_ascii=False) if value else "none"
    return f"{value:g}" if isinstance(value, int | float) else str(value)
