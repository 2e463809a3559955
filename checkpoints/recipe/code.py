"""Python modules -> documents: the modules themselves, and their functions alone, so that a function ends. Knows no other text."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

FOLDERS = {"test", "tests", "idlelib", "encodings", "pydoc_data", "lib2to3", "turtledemo", "site-packages", "distutils"}
TABLES = {"this", "antigravity", "stringprep", "entities", "keyword", "token", "opcode", "mimetypes", "locale"}
SHORTEST, LONGEST = 80, 3000  # characters of a function that stands alone


def read(folder: Path, held: Iterable[str]) -> Iterator[tuple[str, str, str, bool]]:
    """(ability, name, text, held out) of every module and every function; a held module holds out its functions."""
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder)
        if FOLDERS.intersection(inside.parts) or inside.stem in TABLES or inside.name.startswith("_sysconfigdata"):
            continue
        try:
            source = path.read_text(encoding="utf-8").expandtabs(4).replace("\r\n", "\n")
            tree = ast.parse(source)
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue
        out = str(inside) in held
        text = without_header(source)
        if len(text) > 200 and not table(text):
            yield "modules", str(inside), text.strip() + "\n", out
            for name, function in functions(tree, source):
                yield "functions", f"{inside}:{name}", function, out


def functions(tree: ast.AST, source: str) -> Iterator[tuple[str, str]]:
    """The functions and methods of a module, each dedented, without its decorators, and proven to parse."""
    lines = source.splitlines()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None and node.end_lineno - node.lineno < 100:
            text = textwrap.dedent("\n".join(lines[node.lineno - 1 : node.end_lineno])).rstrip() + "\n"
            if SHORTEST <= len(text) <= LONGEST and text.startswith("def ") and _parses(text):
                yield node.name, text


def without_header(text: str) -> str:
    """A module without the comments before its first statement: licences and version notes, the same in many."""
    return re.sub(r"\A(?:[ \t]*#[^\n]*\n|\s*\n)+", "", text)


def table(text: str) -> bool:
    """Mostly numbers and literals, no program."""
    digits = sum(each.isdigit() for each in text)
    return digits / len(text) > 0.1


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True
