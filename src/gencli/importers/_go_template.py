"""A Modelfile's TEMPLATE -> a text with {} for the prompt, where it is no more than that. Knows no Modelfile.

Of Go's template language this reads what single-turn templates are made of: {{ .System }},
{{ .Prompt }}, {{ .Response }}, {{ if .Name }} with {{ else }} and {{ end }}, comments, and the marks {{- and -}}.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gencli.errors import UsageError
from gencli.importers import said

DEEPEST = 20  # conditions within each other
_ACTION = re.compile(r"\{\{(-?)(.*?)(-?)\}\}", re.DOTALL)


class _Response(Exception):
    """The answer begins here; ollama leaves out what follows."""


@dataclass
class _Branch:
    """A condition that is open: whether the text in it counts, and whether the text around it does."""

    counts: bool
    around: bool


def template_of(text: str, system: str) -> str | UsageError:
    """The template with {} for the prompt, or the error that says why a plain text cannot say it."""
    values = {".System": system, ".Prompt": "\0"}  # no text holds a NUL: control characters were refused
    pieces: list[str] = []
    try:
        _filled(text, values, pieces)
    except _Response:
        pass
    except UsageError as error:
        return error
    filled = "".join(pieces)
    if filled.count("\0") != 1:
        return UsageError(f"the prompt stands in it {filled.count(chr(0))} times, not once.")
    if "{}" in filled:
        return UsageError("it holds {} as a text, which marks the prompt in gencli's templates.")
    return filled.replace("\0", "{}")


def _filled(text: str, values: dict[str, str], pieces: list[str]) -> None:
    """Append what counts of the text to the pieces; raises `_Response` where the answer begins."""
    branches: list[_Branch] = []
    start, trim = 0, False
    for match in _ACTION.finditer(text):
        literal = text[start : match.start()]
        literal = literal.lstrip() if trim else literal
        literal = literal.rstrip() if match[1] else literal
        if all(each.counts for each in branches):
            pieces.append(literal)
        _action(match[2].strip(), values, pieces, branches)
        start, trim = match.end(), bool(match[3])
    if branches:
        raise UsageError("a condition in it has no {{ end }}.")
    pieces.append(text[start:].lstrip() if trim else text[start:])


def _action(action: str, values: dict[str, str], pieces: list[str], branches: list[_Branch]) -> None:
    counts = all(each.counts for each in branches)
    condition = re.fullmatch(r"if\s+(\.\w+)", action)
    if action.startswith("/*") and action.endswith("*/"):
        return
    if condition and condition[1] in (*values, ".Response") and len(branches) < DEEPEST:
        branches.append(_Branch(bool(values.get(condition[1])), counts))
    elif action == "else" and branches:
        branches[-1].counts = not branches[-1].counts
    elif action == "end" and branches:
        branches.pop()
    elif action in values:
        if counts:
            pieces.append(values[action])
    elif action == ".Response":
        if counts:
            raise _Response
    else:
        raise UsageError(f"gencli's templates are plain texts and cannot say {{{{ {said(action)[1:-1]} }}}}.")
