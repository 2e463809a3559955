"""Writes the parts of the documentation that the code knows, between marks; `--check` only compares. Knows no wording of pages.

<!-- generated: help generate -->  ...  <!-- end -->     from the code; CI compares
<!-- recorded: gencli ... -->      ...  <!-- end -->     the output of a real run; `--record` runs it again
<!-- recorded: python -->          ...  <!-- end -->     what the Python block above prints, run behind the page's earlier ones
"""

from __future__ import annotations

import argparse
import configparser
import difflib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import fields
from pathlib import Path

import click

from gencli.cli import gencli
from gencli.events import EVENTS, REASONS, Candidate, Logits, StageReport
from gencli.preset import Preset
from gencli.registry import find, names
from gencli.shipped import folder
from gencli.stages import Knob, aliases, knobs

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "gencli"
REGION = re.compile(r"(<!-- (generated|recorded): ([^\n]*?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
PARTS = {Candidate: "in `candidates`", StageReport: "in `stages`", Logits: "in `logits`"}
SCHEMA = ROOT / "docs" / "events.schema.json"


def fenced(text: str, language: str = "text") -> str:
    return f"```{language}\n{text.rstrip()}\n```\n"


def help_of(*words: str) -> str:
    """What `gencli WORDS --help` says at a width of 100, and of a group what its commands say."""
    out = io.StringIO()
    with redirect_stdout(out):
        gencli.main(args=[*words, "--help"], prog_name="gencli", standalone_mode=False, terminal_width=100)
    text = fenced(out.getvalue())
    command = find("commands", words[0].replace("-", "_"))
    if len(words) == 1 and isinstance(command, click.Group):
        text += "".join(f"\n## gencli {words[0]} {name}\n\n{help_of(*words, name)}" for name in sorted(command.commands))
    return text


def stage_page(name: str) -> str:
    """What a stage file says about itself: its knobs, how they are set, its place and where it comes from."""
    stage = find("stages", name)
    rows = [
        f"| `{each.name}` | `{setting(name, each, first=not at)}` | {each.range()} | {shown(each)} | {each.help} |"
        for at, each in enumerate(knobs(stage))
    ]
    also = f" Also called: {', '.join(f'`{each}`' for each in aliases(name))}." if aliases(name) else ""
    place = f"Standard place: {stage.place:g} (see [all stages](../README.md#stages)).{also} Source: {stage.source}."
    return "\n".join(["| knob | set by | range | default | |", "|---|---|---|---|---|", *rows, "", place, ""])


def setting(stage: str, each: Knob, *, first: bool) -> str:
    return f"--{stage.replace('_', '-')}" if first else f"--set {stage}.{each.name}=..."


def shown(each: Knob) -> str:
    if each.default in (None, (), {}, ""):
        return "none"
    return f"`{json.dumps(each.default, ensure_ascii=False)}`" if isinstance(each.default, tuple) else f"{each.default}"


def stage_table() -> str:
    """Every stage in its standard order, with its first knob."""
    found = sorted((find("stages", name).place, name) for name in names("stages"))
    lines = ["| place | stage | first knob | what it does |", "|---|---|---|---|"]
    for place, name in found:
        stage = find("stages", name)
        lines.append(f"| {place:g} | [`{name}`](stages/{name}.md) | `{knobs(stage)[0].name}` | {first_sentence(stage.__doc__)} |")
    return "\n".join(lines) + "\n"


def command_table() -> str:
    """Every command with the first sentence of its help."""
    lines = ["| command | what you get |", "|---|---|"]
    for file in names("commands"):
        command = find("commands", file)
        lines.append(f"| [`{command.name}`](commands/{command.name}.md) | {first_sentence(command.help)} |")
    return "\n".join(lines) + "\n"


def family_table() -> str:
    """Every family: what config.json calls it, what its block is like, and whose it is."""
    lines = ["| `architectures` in config.json | block | models |", "|---|---|---|"]
    for name in names("models"):
        family = find("models", name)
        block = first_sentence(first_line(PACKAGE / "models" / f"{name}.py")).split(": ", 1)[1]
        lines.append(
            f"| {', '.join(f'`{each}`' for each in family.architectures)} | {block} | {' '.join(family.__doc__.split()).rstrip('.')} |"
        )
    return "\n".join(lines) + "\n"


def preset_table() -> str:
    """The shipped presets: their pipelines in order."""
    lines = ["| preset | pipeline, in this order | for |", "|---|---|---|"]
    for path in sorted((folder("configs") / "presets").glob("*.yaml")):
        preset = Preset.load(path)
        stages = " > ".join(line.removeprefix("  - ") for line in preset.dumps().splitlines() if line.startswith("  - "))
        lines.append(f"| `{path.stem}` | `{stages}` | {preset.description} |")
    return "\n".join(lines) + "\n"


def event_tables() -> str:
    """Every event with what its docstring says and its fields."""
    parts = []
    for shape in (*EVENTS, *PARTS):
        about = " ".join((shape.__doc__ or "").split())
        shown_as = f"`{shape.event}`" if shape in EVENTS else PARTS[shape]
        rows = ["| `{}` | `{}` |".format(each.name, str(each.type).replace("|", "\\|")) for each in fields(shape)]
        parts.append("\n".join([f"### {shown_as}", "", about, "", "| field | type |", "|---|---|", *rows, ""]))
    return "\n".join(parts)


def reason_table() -> str:
    return "\n".join(["| reason | |", "|---|---|", *(f"| `{reason}` | {about} |" for reason, about in REASONS.items())]) + "\n"


def first_sentence(text: str | None) -> str:
    return re.split(r"(?<=[.])\s", " ".join((text or "").split()), maxsplit=1)[0].rstrip(".")


def tree() -> str:
    """Root files and shelves from the top layer to the bottom one, each with the first line of its docstring."""
    layers = configparser.ConfigParser()
    layers.read(ROOT / ".importlinter")
    order = re.findall(r"\w+", layers["importlinter:contract:layers"]["layers"])
    found = [path for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    rank = {"__init__": -2, "__main__": -1, **{name: place for place, name in enumerate(order)}}
    if homeless := sorted(path.stem for path in found if path.stem not in rank):
        sys.exit(f"The layers in .importlinter do not name {', '.join(homeless)}.")
    lines = ["src/gencli/"]
    for path in sorted(found, key=lambda path: rank[path.stem]):
        if path.is_dir():
            lines.append(f"  {path.name + '/':18} {first_line(path / '__init__.py')}")
            lines += wrapped(sorted(item.stem for item in path.glob("*.py") if item.stem != "__init__"))
        else:
            lines.append(f"  {path.name:18} {first_line(path)}")
    return fenced("\n".join(lines))


def wrapped(items: list[str]) -> list[str]:
    lines: list[str] = []
    for item in items:
        if not lines or len(lines[-1]) + len(item) > 110:
            lines.append("     ")
        lines[-1] += f" {item}"
    return lines


def first_line(path: Path) -> str:
    """The first paragraph of a module's docstring, on one line."""
    text = path.read_text(encoding="utf-8").split('"""')[1]
    return " ".join(text.split("\n\n")[0].split())


def output(command: str) -> str:
    """What a command prints, stdout and stderr as a person without a terminal sees them."""
    words = command.replace("gencli", shlex.quote(str(Path(sys.executable).parent / "gencli")), 1)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GENCLI_")}
    environment |= {"XDG_DATA_HOME": "/nonexistent", "HF_HUB_CACHE": "/nonexistent", "OLLAMA_MODELS": "/nonexistent"}
    environment |= {"COLUMNS": "100", "XDG_CONFIG_HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}
    done = subprocess.run(["bash", "-c", words], cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", timeout=300)
    text = (done.stdout + done.stderr).replace(f"{ROOT}/", "").rstrip()
    return fenced(f"$ {command}\n{text}" + (f"\n[exit code {done.returncode}]" if done.returncode else ""), "console")


def output_of_python(page: str) -> str:
    """What the last Python block of a page prints; those before it run first, as the cells of a notebook do."""
    cells = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    code = "import contextlib, io, json, sys\n*before, last = json.load(sys.stdin)\nspace = {}\n"
    code += "with contextlib.redirect_stdout(io.StringIO()):\n    for cell in before:\n        exec(cell, space)\nexec(last, space)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, input=json.dumps(cells), capture_output=True, text=True, timeout=300)
    if done.returncode:
        sys.exit(f"the Python block does not run:\n{cells[-1]}\n{done.stderr}")
    return fenced(done.stdout)


GENERATORS: dict[str, Callable[..., str]] = {
    "help": help_of,
    "stage": stage_page,
    "stages": stage_table,
    "commands": command_table,
    "presets": preset_table,
    "families": family_table,
    "events": event_tables,
    "reasons": reason_table,
    "tree": tree,
}


def renewed(text: str, record: bool) -> str:
    """A page with its regions made anew; recorded ones only where asked for or where still empty."""

    def region(match: re.Match[str]) -> str:
        opening, kind, what, old, closing = match.groups()
        if kind == "recorded" and (old.strip() and not record):
            new = old
        elif kind == "recorded":
            new = output_of_python(match.string[: match.start()]) if what == "python" else output(what)
        elif what.startswith("output "):
            new = output(what.removeprefix("output "))
        else:
            name, *arguments = what.split()
            new = GENERATORS[name](*arguments)
        return f"{opening}{new}{closing}"

    return REGION.sub(region, text)


def pages() -> dict[Path, str]:
    """Every page that may hold regions, and one for each command and stage that has none yet."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(found)}
    for name in names("stages"):
        texts.setdefault(ROOT / "docs" / "stages" / f"{name}.md", f"# {name}\n\n<!-- generated: stage {name} -->\n<!-- end -->\n")
    for file in names("commands"):
        name = file.replace("_", "-")
        texts.setdefault(ROOT / "docs" / "commands" / f"{name}.md", f"# gencli {name}\n\n<!-- generated: help {name} -->\n<!-- end -->\n")
    return texts


def schema_text() -> str:
    from gencli.schema import schema

    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a page differs from the code")
    parser.add_argument("--record", action="store_true", help="run the recorded commands again")
    parser.add_argument("pages", nargs="*", type=Path, help="only these; all where none is named")
    arguments = parser.parse_args()
    chosen = {path.resolve() for path in arguments.pages}
    wanted = {path: renewed(text, arguments.record) for path, text in pages().items() if not chosen or path in chosen}
    wanted |= {} if chosen else {SCHEMA: schema_text()}
    stale = 0
    for path, text in wanted.items():
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if old == text:
            continue
        stale += 1
        name = str(path.relative_to(ROOT))
        if arguments.check:
            sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), text.splitlines(True), name, f"{name} (from the code)"))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    if arguments.check and stale:
        sys.exit(f"{stale} pages differ from the code; `make docs` writes them anew.")


main()
