"""What ARCHITECTURE.md promises: light imports, small files that say what they are, a tree that is true."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src" / "gencli").rglob("*.py"))
SHELVES = sorted(path.parent.name for path in SOURCES if path.name == "__init__.py" and path.parent.name != "gencli")
HEAVY = {"torch", "numpy", "tokenizers", "tiktoken", "safetensors", "rich", "jinja2", "transformers"}
MOST_LINES = 300
MOST_FUNCTION_LINES = 60
VAGUE = {"utils", "common", "helpers", "core", "base", "manager", "handler"}


def items(shelf: str) -> list[str]:
    """The items on a shelf, by their files."""
    return sorted(path.stem for path in (ROOT / "src" / "gencli" / shelf).glob("*.py") if not path.stem.startswith("_"))


def fresh(program: str, **environment: str) -> tuple[set[str], str]:
    """The top-level modules that a new process holds once it has run `program`, and what it wrote to stdout."""
    whole = f"import sys, json\n{program}\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", whole], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}, done.stdout


def running(*arguments: str) -> str:
    """A program that runs the command line in its own process and goes on."""
    return (
        "from gencli.cli import gencli\n"
        "try:\n"
        f"    gencli.main(args={list(arguments)!r}, prog_name='gencli', standalone_mode=False)\n"
        "except SystemExit:\n"
        "    pass\n"
    )


LIGHT = ["gencli", "gencli.cli", "gencli.events", "gencli.options", "gencli.preset", "gencli.registry", "gencli.shipped"]
LIGHT += [f"gencli.{shelf}.{item}" for shelf in ("stages", "commands") for item in items(shelf)]


def test_imports_are_light() -> None:
    loaded, _ = fresh("\n".join(f"import {module}" for module in LIGHT))
    assert "gencli" in loaded
    assert not loaded & (HEAVY | {"yaml"})


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("stages",), ("presets", "list"), ("presets", "show", "creative")], ids=" ".join
)
def test_commands_that_need_no_model_load_no_torch(arguments: tuple[str, ...]) -> None:
    loaded, told = fresh(running(*arguments))
    assert told
    assert not loaded & {"torch", "numpy", "tokenizers", "tiktoken", "safetensors"}


def test_help_of_every_command_loads_nothing_heavy() -> None:
    loaded, told = fresh("".join(running(name.replace("_", "-"), "--help") for name in items("commands")))
    assert told.count("Usage: gencli ") == len(items("commands"))
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("gencli ", "generate"),
        ("gencli generate --preset ", "creative"),
        ("gencli generate --checkpoint ", "fable-6m"),
        ("gencli presets show ", "greedy"),
    ],
)
def test_completion_offers_names_without_torch(words: str, offered: str) -> None:
    environment = {"_GENCLI_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()))}
    loaded, told = fresh(running(), **environment)
    assert f"plain,{offered}" in told.splitlines()
    assert not loaded & (HEAVY - {"rich"})


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_every_file_is_small_and_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith('"""'), "the first line says what the file is"
    assert text.count("\n") < MOST_LINES
    assert path.stem not in VAGUE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MOST_FUNCTION_LINES, f"{node.name} does not fit a screen: {length} lines"


@pytest.mark.parametrize("folder", ["tests", "scripts", "benchmarks"])
def test_every_other_file_says_what_it_is(folder: str) -> None:
    assert [path for path in sorted((ROOT / folder).rglob("*.py")) if not path.read_text(encoding="utf-8").startswith('"""')] == []


def test_the_tree_is_the_code() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    (tree,) = re.findall(r"```text\n(src/gencli/\n.*?)```", page, re.DOTALL)
    root_files = set(re.findall(r"^  (\w+\.py) ", tree, re.MULTILINE))
    shelves = dict(re.findall(r"^  (\w+)/ .*\n((?:      .*\n)*)", tree, re.MULTILINE))
    assert root_files == {path.name for path in (ROOT / "src" / "gencli").glob("*.py")}
    assert sorted(shelves) == SHELVES
    for shelf, listed in shelves.items():
        files = (ROOT / "src" / "gencli" / shelf).glob("*.py")
        assert sorted(re.findall(r"\w+", listed)) == sorted(path.stem for path in files if path.stem != "__init__")


@pytest.mark.parametrize("stage", items("stages"))
def test_every_stage_has_its_test_and_its_page(stage: str) -> None:
    assert (ROOT / "tests" / "stages" / f"test_{stage}.py").exists()
    assert (ROOT / "docs" / "stages" / f"{stage}.md").exists()


@pytest.mark.parametrize("command", items("commands"))
def test_every_command_has_its_page(command: str) -> None:
    assert (ROOT / "docs" / "commands" / f"{command.replace('_', '-')}.md").exists()
