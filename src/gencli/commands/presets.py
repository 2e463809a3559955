"""`gencli presets`: list, show and check presets, keep what was typed as one, take one over from elsewhere. Knows no model."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from gencli.errors import UsageError
from gencli.option_types import Command, Group, Name, OneOf
from gencli.options import ENVIRONMENT_NOTE, SETTINGS, complete_presets, preset_options, settings_from, stage_options
from gencli.registry import names

if TYPE_CHECKING:
    from gencli.importers import Imported
    from gencli.terminal import Messages

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
SAVE_EXAMPLES = f"""\b
Examples:
  gencli presets save my-chat --temperature 0.7 --top-p 0.9 --description "Calmer than chat."
  gencli presets save my-code --preset code --top-k 10 --stop "def " --force
  gencli presets save -o ./mine.yaml --pipeline top_p,temperature --top-p 0.95 --temperature 1.4

{ENVIRONMENT_NOTE}
"""
IMPORT_EXAMPLES = """\b
Examples:
  gencli presets import checkpoints/fable-6m/generation_config.json
  gencli presets import Modelfile --from ollama --name mario
  gencli presets import -- llama-cli --temp 0.7 --top-k 20 --samplers "top_k;top_p;temperature"
  echo 'llama-server --min-p 0.1 --temp 1.2' | gencli presets import - -o ./hot.yaml
"""
FORCE = click.option("--force", is_flag=True, help="Write over a preset that is there.")


@click.group(cls=Group)
def presets() -> None:
    """Settings under a name: list, show, check, save and import them."""


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

    Warns of stages that do nothing, and of orders, windows and values that are hardly meant.
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


@presets.command("save", cls=Command, epilog=SAVE_EXAMPLES)
@click.argument("name", required=False)
@click.option("--description", default="", help="What the preset is for, in a sentence.")
@click.option("--output", "-o", "path", metavar="FILE", help="Write it there instead of into your folder; - is stdout.")
@FORCE
@preset_options
@click.pass_context
def save_preset(context: click.Context, /, name: str | None, description: str, path: str | None, force: bool, **_: Any) -> None:
    """The flags just typed, kept as a preset.

    NAME goes into your folder, where --preset finds it. A preset that is there is never written over without --force.
    """
    from dataclasses import replace

    from gencli.settings import resolve
    from gencli.terminal import Messages

    if (name is None) == (path is None):
        raise UsageError("presets save needs a NAME for your folder or -o FILE for a file elsewhere, one of both.")
    found = resolve(settings_from(context))
    if not (found.pipeline or found.settings or found.path):
        raise UsageError("there is nothing to save; give flags such as --temperature 0.8, or a --preset to start from.")
    preset = replace(found, description=_sentence(description) or found.description)
    preset.stages()  # a value out of range is told before anything is written
    _deliver(preset.dumps(), name, path, force, Messages())


class _Import(Command):
    """A command that keeps what stands behind `--` apart: another program's command line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta["words"], args = args[at + 1 :], args[:at]
        return super().parse_args(ctx, args)


def _programs() -> tuple[str, ...]:
    return tuple(name.replace("llama_cpp", "llama.cpp") for name in names("importers"))


@presets.command("import", cls=_Import, epilog=IMPORT_EXAMPLES)
@click.argument("file", metavar="[FILE|-]", required=False, type=click.Path(allow_dash=True))
@click.option("--from", "program", type=OneOf("auto", *_programs()), default="auto", help="Whose settings they are. [default: auto]")
@click.option("--name", help="Keep it in your folder under this name.")
@click.option("--output", "-o", "path", metavar="FILE", help="Write it there instead of to stdout.")
@click.option("--description", default="", help="What the preset is for, in a sentence.")
@click.option("--strict", is_flag=True, help="Write nothing and end with exit code 3 where the preset would draw otherwise.")
@FORCE
@click.pass_context
def import_preset(
    context: click.Context,
    /,
    file: str | None,
    program: str,
    name: str | None,
    path: str | None,
    description: str,
    strict: bool,
    force: bool,
) -> None:
    """Another program's settings, as a preset that draws from the same distribution.

    Reads a llama.cpp command line (also behind --), a transformers generation_config.json or an ollama
    Modelfile, with that program's own defaults and order. What no preset can say is named on stderr and in the file.
    """
    from gencli.importers import carry, recognised, sources
    from gencli.terminal import Messages

    if name and path:
        raise UsageError("--name and -o both say where to write; give one of them.")
    where, text = _foreign(file, context.meta.get("words"))
    importer = recognised(text, where) if program == "auto" else sources()[program]
    imported = carry(importer.read(text, where), _sentence(description) or f"Imported from {importer.name}.")
    messages = Messages()
    _tell(imported, messages)
    if strict and imported.lost:
        context.exit(3)
    _deliver(imported.dumps(), name, path or (None if name else "-"), force, messages)


def _foreign(file: str | None, words: list[str] | None) -> tuple[str, str]:
    """Where foreign settings come from, in words, and their text."""
    from gencli.preset_yaml import decoded, read_text

    if words is not None:
        if file:
            raise UsageError(f"give a file ({file}) or a command line behind --, not both.")
        return "the command line behind --", shlex.join(words)
    if file and " -" in file and not Path(file).exists():
        raise UsageError("a command line stands behind --, without quotes around the whole: gencli presets import -- llama-cli --temp 0.7")
    if file and file != "-":
        return file, read_text(Path(file), "file")
    if sys.stdin is None or (file is None and sys.stdin.isatty()):
        raise UsageError("there is nothing to import; give a FILE, - for stdin, or a command line behind --.")
    return "stdin", decoded(sys.stdin.buffer, "stdin", "settings file")


def _tell(imported: Imported, messages: Messages) -> None:
    for sentence in imported.lost:
        messages.warning(sentence)
    if imported.aside and messages.terminal:
        messages.line(f"left aside, as no matter of a preset: {', '.join(imported.aside)}")


def _sentence(description: str) -> str:
    """A description that YAML can hold; raises `UsageError` for bytes that are no text."""
    if any("\ud800" <= each <= "\udfff" for each in description):
        raise UsageError("--description is not UTF-8 text.")
    return description


def _deliver(text: str, name: str | None, path: str | None, force: bool, messages: Messages) -> None:
    """Write a preset into the user's folder, to a file, or (-) to stdout."""
    from gencli.preset_folders import place_of, save
    from gencli.shipped import folder
    from gencli.terminal import Output, visible

    if path == "-":
        Output().write(text)
        return
    target = place_of(name) if name is not None else Path(path or "")
    save(target, text, force=force)
    if name is not None and (folder("configs") / "presets" / f"{name}.yaml").exists():
        messages.warning(f"--preset {name} means yours from now on, no longer the shipped one.")
    if messages.terminal:
        messages.line(f"wrote {visible(str(target), on_one_line=True)}" + (f"; use it as --preset {name}" if name else ""))
