"""The documentation is true: its generated parts equal the code, its links lead somewhere, its commands parse."""

from __future__ import annotations

import doctest
import io
import re
import shlex
import subprocess
import sys
import textwrap
from contextlib import redirect_stdout
from pathlib import Path

import click
import pytest

from gencli.cli import gencli

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def test_the_generated_parts_equal_the_code() -> None:
    check = subprocess.run([sys.executable, "scripts/docs.py", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert check.returncode == 0, check.stdout + check.stderr


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if not target.startswith(("http:", "https:", "#"))]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def commands(text: str) -> list[list[str]]:
    """The words of every `gencli ...` line in the shell blocks of a page."""
    found = []
    for block in re.findall(r"```(?:sh|console)\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            for part in re.split(r"\s\|\s|&&", line.removeprefix("$ ").split("  #")[0]):
                match = re.match(r"\s*(?:[A-Z_]+=\S+ )*gencli\s(.*)", part)
                if match:
                    found.append([word for word in shlex.split(match[1]) if not re.match(r"[<>]|2>", word)])
    return found


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_in_the_pages_parse(page: Path) -> None:
    for words in commands(page.read_text(encoding="utf-8")):
        command: click.Command | None = gencli
        context = click.Context(gencli, info_name="gencli")
        rest = list(words)
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            name = rest.pop(0)
            command = command.get_command(context, name)
            assert command is not None, f"{page.name}: there is no command {name!r} in 'gencli {shlex.join(words)}'"
        assert command is not None
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {
            "--help",
            "-h",
            "--version",
        }
        rest = rest[: rest.index("--")] if "--" in rest else rest  # what follows are no options of ours
        unknown = [word for word in rest if re.match(r"--?[a-z]", word) and word.split("=")[0] not in known]
        assert unknown == [], f"{page.name}: 'gencli {shlex.join(words)}' has options that do not exist: {unknown}"


def test_the_python_page_runs() -> None:
    failed, tried = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False, optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert tried > 20
    assert failed == 0


@pytest.mark.slow
def test_the_cells_of_the_investigations_run() -> None:
    """As a notebook runs them; their figures are not compared, for they change with the checkpoint."""
    text = (ROOT / "docs" / "investigations.md").read_text(encoding="utf-8")
    cells = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert text.count("<!-- recorded: python -->") == len(cells) == 4
    space: dict[str, object] = {}
    for cell in cells:
        out = io.StringIO()
        with redirect_stdout(out):
            exec(cell, space)
        assert out.getvalue().strip()


def test_the_stage_that_contributing_adds_is_one() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = textwrap.dedent(re.findall(r" *```python\n(.*?) *```", page, re.DOTALL)[0])
    assert shown == (ROOT / "src" / "gencli" / "stages" / "top_a.py").read_text(encoding="utf-8")
