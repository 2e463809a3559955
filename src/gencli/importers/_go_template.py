"""A Modelfile's TEMPLATE -> a text with {} for the prompt, where it is no more than that. Knows no Modelfile.

Of Go's template language this reads what single-turn templates are made of: {{ .System }},
{{ .Prompt }}, {{ .Response }}, {{ if .Name }} with {{ else }} and {{ end }}, comments, and the marks {{- and -}}.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gencli.errors import UsageError
from gencli.importers import said

DEEPEST = 20  # conditions within each other
SPACE = " \t\r\n"  # what Go takes for space, and trims; a wider one of Unicode's stays


@dataclass
class _Branch:
    """A condition that is open: whether the text in it counts, and whether its {{ else }} has been."""

    counts: bool
    turned: bool = False


def template_of(text: str, system: str) -> str | UsageError:
    """The template with {} for the prompt, or the error that says why a plain text cannot say it."""
    values = {".System": system, ".Prompt": "\0"}  # no text holds a NUL: control characters were refused
    try:
        filled = _filled(text, values)
    except UsageError as error:
        return error
    if filled.count("\0") != 1:
        return UsageError(f"the prompt stands in it {filled.count(chr(0))} times, not once.")
    if "{}" in filled:
        return UsageError("it holds {} as a text, which marks the prompt in gencli's templates.")
    return filled.replace("\0", "{}")


def _filled(text: str, values: dict[str, str]) -> str:
    """The text up to where the answer begins, filled in; ollama leaves out what follows, but what follows has to be a template."""
    pieces: list[str] = []
    branches: list[_Branch] = []
    trim = answered = False
    for literal, inner in _parted(text):
        before, action, after = _trims(inner or "")
        counts = not answered and all(each.counts for each in branches)
        pieces += [_literal(literal, trim, before)] if counts else []
        trim = after
        if inner is None or _is_comment(action):
            continue
        action = action.strip(SPACE)
        if action in values:
            pieces += [values[action]] if counts else []
        elif action == ".Response":
            answered = True  # in a branch that does not count as well
        else:
            _branch(action, values, branches)
    if branches:
        raise UsageError("a condition in it has no {{ end }}.")
    return "".join(pieces)


def _parted(text: str) -> Iterator[tuple[str, str | None]]:
    """Every text with what stands between the {{ and }} behind it; None behind the last one."""
    start = 0
    while (opening := text.find("{{", start)) >= 0:
        closing = text.find("}}", opening + 2)
        if closing < 0:
            raise UsageError("a {{ in it has no }}.")
        yield text[start:opening], text[opening + 2 : closing]
        start = closing + 2
    yield text[start:], None


def _trims(inner: str) -> tuple[bool, str, bool]:
    """Whether a mark trims the text before, the action without its marks, and whether one trims the text behind."""
    before = inner[:1] == "-" and inner[1:2] in tuple(SPACE)
    inner = inner[2:] if before else inner
    after = inner[-1:] == "-" and inner[-2:-1] in tuple(SPACE)
    return before, inner[:-2] if after else inner, after


def _literal(text: str, trim_left: bool, trim_right: bool) -> str:
    text = text.lstrip(SPACE) if trim_left else text
    return text.rstrip(SPACE) if trim_right else text


def _is_comment(action: str) -> bool:
    """Whether it is /* ... */ with nothing around it, as Go asks for."""
    return action.startswith("/*") and action.find("*/", 2) == len(action) - 2


def _branch(action: str, values: dict[str, str], branches: list[_Branch]) -> None:
    """Open, turn or close a condition; raises `UsageError` for every other action."""
    condition = re.fullmatch(rf"if[{SPACE}]+(\.\w+)", action)
    if condition and condition[1] in (*values, ".Response"):
        if len(branches) == DEEPEST:
            raise UsageError(f"conditions in it stand more than {DEEPEST} deep within each other.")
        branches.append(_Branch(bool(values.get(condition[1]))))
    elif action == "else" and branches and not branches[-1].turned:
        branches[-1] = _Branch(not branches[-1].counts, turned=True)
    elif action == "end" and branches:
        branches.pop()
    else:
        raise UsageError(f"gencli's templates are plain texts and cannot say {{{{ {said(action)[1:-1]} }}}}.")
