"""`gencli checkpoints`: what checkpoints there are, and what one is and costs. Reads headers only, no weights."""

from __future__ import annotations

import json

import click

from gencli.option_types import Command, Group, Name, Number, OneOf
from gencli.options import complete_checkpoints

CHECKPOINT = Name(complete_checkpoints, files=True)
LIST_EXAMPLES = """\b
Examples:
  gencli checkpoints list
  gencli checkpoints list --format json
"""
INFO_EXAMPLES = """\b
Examples:
  gencli checkpoints info
  gencli checkpoints info ./my-checkpoint --context 128
  gencli checkpoints info --format json | jq .parameters
"""


@click.group(cls=Group)
def checkpoints() -> None:
    """Models on this machine: list them, tell what one is and costs."""


@checkpoints.command("list", cls=Command, epilog=LIST_EXAMPLES)
@click.option("--format", "form", type=OneOf("table", "json"), default="table", help="How to write the list. [default: table]")
def list_checkpoints(form: str) -> None:
    """Every checkpoint that has a name.

    Yours come before the shipped ones.
    """
    from gencli.catalogue import listed
    from gencli.checkpoint_report import checkpoint_table
    from gencli.description import described_or_why
    from gencli.tables import width_of
    from gencli.terminal import Output

    found = [described_or_why(each) for each in listed()]
    output = Output()
    if form == "json":
        output.write(json.dumps(found, ensure_ascii=False, indent=2) + "\n")
        return
    output.write(checkpoint_table(found, width_of(output)))


@checkpoints.command("info", cls=Command, epilog=INFO_EXAMPLES)
@click.argument("checkpoint", metavar="[NAME|PATH]", required=False, envvar="GENCLI_CHECKPOINT", type=CHECKPOINT)
@click.option("--context", "length", type=Number("at least 1", low=1), metavar="N", help="Tell the memory at N positions. [default: all]")
@click.option("--format", "form", type=OneOf("text", "json"), default="text", help="How to write it. [default: text]")
def info(checkpoint: str | None, length: int | None, form: str) -> None:
    """What a checkpoint is and costs.

    Without a name it is the embedded one. Memory is that of weights and KV cache; a run needs a little more.
    """
    from gencli.catalogue import find_checkpoint, name_from
    from gencli.checkpoint_report import description_lines
    from gencli.description import describe
    from gencli.formats import open_checkpoint
    from gencli.terminal import Output

    path = find_checkpoint(checkpoint)
    facts = describe(open_checkpoint(path), length)
    facts["name"] = name_from(checkpoint, path) or facts["name"]
    text = json.dumps(facts, ensure_ascii=False, indent=2) if form == "json" else "\n".join(description_lines(facts))
    Output().write(text + "\n")
