"""`gencli presets`: what presets there are, what is in one, whether a file is one. Knows no model."""

from __future__ import annotations

import json
from typing import Any

import click
from click.core import ParameterSource

from gencli.errors import UsageError
from gencli.option_types import Command, Group, Name, OneOf
from gencli.options import ENVIRONMENT_NOTE, SETTINGS, complete_presets, settings_from, stage_options
from gencli.registry import names

LIST_EXAMPLES = """\b
Examples:
  gencli presets list
  gencli presets list --format json
"""
SHOW_EXAMPLES = f"""\b
Examples:
  gencli presets show creative
  gencli presets show chat > ~/.config/gencli/presets/mine.yaml
  gencli presets show creative --top-k 20 --resolved

{ENVIRONMENT_NOTE}
"""
CHECK_EXAMPLES = """\b
Examples:
  gencli presets check ./mine.yaml
  gencli presets check --strict configs/presets/*.yaml
"""


@click.group(cls=Group)
def presets() -> None:
    """Settings under a name: list them, show one, check a file."""


@presets.command("list", cls=Command, epilog=LIST_EXAMPLES)
@click.option("--format", "form", type=OneOf("table", "json"), default="table", help="How to write the list. [default: table]")
def list_presets(form: str) -> None:
    """Every preset that has a name.

    Yours come before the shipped ones; of two with one name the second is shadowed.
    """
    from gencli.preset_folders import listed
    from gencli.tables import table, width_of
    from gencli.terminal import Output

    found = [(each, *_described(str(each.path))) for each in listed()]
    output = Output()
    if form == "json":
        rows = [
            {"name": e.name, "from": e.owner, "shadowed": e.shadowed, "path": str(e.path), "description": d, "error": x}
            for e, d, x in found
        ]
        output.write(json.dumps(rows, ensure_ascii=False, indent=2) + "\n")
        return
    lines = []
    for each, description, error in found:
        owner = f"{each.owner}, shadowed by yours" if each.shadowed else each.owner
        lines.append((each.name, owner, error or description))
    output.write(table(("preset", "from", "for"), lines, width_of(output)))


def _described(path: str) -> tuple[str, str | None]:
    """A preset's description and, where it does not parse, why."""
    from gencli.preset import Preset

    try:
        return Preset.load(path).description, None
    except UsageError as error:
        return "", str(error)


@presets.command("show", cls=Command, epilog=SHOW_EXAMPLES)
@click.argument("preset", metavar="NAME|PATH", type=Name(complete_presets, files=True))
@click.option("--resolved", is_flag=True, help="Add the flags, the environment and the defaults, and tell every value's origin.")
@click.option("--format", "form", type=OneOf("yaml", "json"), default="yaml", help="How to write it. [default: yaml]")
@stage_options
@click.pass_context
def show(context: click.Context, /, preset: str, resolved: bool, form: str, **_: Any) -> None:
    """One preset, as YAML.

    What it extends is merged in. With flags of the pipeline it is shown as they change it, as by --resolved.
    """
    from gencli.preset import Preset
    from gencli.settings import resolve
    from gencli.terminal import Output

    pipeline = {*names("stages"), *SETTINGS, "sets", "pipeline"}
    changed = any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in pipeline)
    found = resolve(settings_from(context)) if resolved or changed else Preset.load(preset)
    as_json = form == "json"
    Output().write(json.dumps(found.to_dict(), ensure_ascii=False, indent=2) + "\n" if as_json else found.dumps(resolved or changed))


@presets.command("check", cls=Command, epilog=CHECK_EXAMPLES)
@click.argument("files", metavar="NAME|PATH...", nargs=-1, required=True, type=Name(complete_presets, files=True))
@click.option("--strict", is_flag=True, help="End with exit code 3 where there are warnings.")
@click.pass_context
def check(context: click.Context, files: tuple[str, ...], strict: bool) -> None:
    """Whether files are presets.

    Warns of stages that do nothing.
    Exit code 0: every one parses; 2: one does not; 3: with --strict, there are warnings.
    """
    from gencli.linting import warnings
    from gencli.preset import Preset
    from gencli.terminal import Messages, Output, visible

    output, messages = Output(), Messages()
    broken = warned = False
    for word in files:
        try:
            found = warnings(Preset.load(word))
        except UsageError as error:
            messages.error(str(error))
            broken = True
            continue
        warned |= bool(found)
        name = visible(word, on_one_line=True)
        output.write("".join(f"{name}: {visible(line, on_one_line=True)}\n" for line in found) or f"{name}: no warnings\n")
    context.exit(2 if broken else 3 if strict and warned else 0)
