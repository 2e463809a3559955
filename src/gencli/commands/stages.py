"""`gencli stages`: every stage of the pipeline with its knobs. Knows no stage by name."""

from __future__ import annotations

import json
from typing import Any

import click

from gencli.option_types import Command, Name, OneOf
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
    from gencli.tables import table, width_of
    from gencli.terminal import Output

    found = [_described(name, find("stages", name)) for name in stage or names("stages")]
    found.sort(key=lambda each: each["place"])
    output = Output()
    if form == "json":
        output.write(json.dumps(found, ensure_ascii=False, indent=2) + "\n")
        return
    rows = [_row(each, knob) for each in found for knob in each["knobs"]]
    output.write(table(("place", "stage", "knob", "default", "neutral", "range", "source"), rows, width_of(output)))


def _described(name: str, stage: Any) -> dict[str, Any]:
    """A stage as JSON values."""
    import dataclasses

    from gencli.stages import knobs

    settings = [{**dataclasses.asdict(each), "range": each.range()} for each in knobs(stage)]
    does = " ".join((stage.__doc__ or "").split())
    return {
        "stage": name,
        "place": stage.place,
        "flag": f"--{name.replace('_', '-')}",
        "does": does,
        "source": stage.source,
        "knobs": settings,
    }


def _row(stage: dict[str, Any], knob: dict[str, Any]) -> tuple[str, ...]:
    default, neutral = _text(knob["default"]), _text(knob["neutral"])
    return f"{stage['place']:g}", stage["stage"], knob["name"], default, neutral, knob["range"], stage["source"]


def _text(value: Any) -> str:
    """A knob's value in a cell; "-" where there is none."""
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return "none" if not value else str(value)
    return f"{value:g}" if isinstance(value, int | float) else str(value)
