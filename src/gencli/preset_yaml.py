"""YAML text <-> plain nodes with line numbers, as strictly as a settings file deserves. Knows no key of a preset.

Only PyYAML's parse events are used: nothing is ever constructed from a tag. Anchors, aliases, tags and
second documents are refused, and scalars follow the core schema of YAML 1.2: `3e-4` is a number,
`1_000`, `yes` and `off` are texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from gencli.errors import UsageError

if TYPE_CHECKING:
    from yaml.events import Event

LARGEST = 1_000_000  # bytes of a file
DEEPEST = 12  # lists and mappings within each other; a preset needs five
MOST = 20_000  # values of a file: more is no preset, and slow to read
LONGEST_NUMBER = 200  # characters; what is longer is a text: no setting is so large, and float64 ends at 1e308
LONGEST_SHOWN = 60  # characters

# compiled when a text is read: the class is large
_CONTROL = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)")
_NOT_A_NUMBER = re.compile(r"\.(nan|NaN|NAN)")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass
class Node:
    """One value and the line it begins in (from 1).

    `kind` is "scalar" (value: None, bool, int, float or str), "list" (value: a list of nodes) or
    "mapping" (value: a list of pairs of nodes, the keys scalars and different from each other).
    """

    kind: str
    line: int
    value: Any

    def plain(self) -> Any:
        """The value without lines: scalars, lists and dicts."""
        if self.kind == "list":
            return [item.plain() for item in self.value]
        if self.kind == "mapping":
            return {key.value: item.plain() for key, item in self.value}
        return self.value


def scalar(text: str) -> bool | int | float | str | None:
    """What an unquoted scalar means under the core schema of YAML 1.2."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > LONGEST_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text) or _NOT_A_NUMBER.fullmatch(text):
        return float(text.replace(".", "").lower())
    return text


def quoted(value: bool | int | float | str | None) -> str:
    """A scalar as YAML 1.2 text that `scalar` or a YAML reader turns into the same value again."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return ".nan" if value != value else (".inf" if value > 0 else "-.inf")
    if isinstance(value, int | float):
        return repr(value)
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character in "\n\t":
        return "\\n" if character == "\n" else "\\t"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shown(text: str) -> str:
    """A text from a file as an error quotes it: not longer than a line."""
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def read_text(path: Path, what: str = "preset") -> str:
    """The text of a small UTF-8 file; a `UsageError` says what is wrong with it otherwise."""
    try:
        with path.open("rb") as file:
            return decoded(file, str(path), what)
    except (OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"the {what} {path} cannot be read: {reason}.") from None


def decoded(file: BinaryIO, where: str, what: str) -> str:
    """The rest of an open file as text, if it is small and UTF-8; a `UsageError` says so otherwise."""
    data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise UsageError(f"{where} holds more than {LARGEST:,} bytes; that is no {what}.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{where}, line {line}: byte {error.start} is not UTF-8 text.") from None


def parse(text: str, where: str) -> Node | None:
    """The one document of a YAML text, or None if it holds nothing; `where` names it in every error."""
    import yaml

    text = text.removeprefix("\ufeff")
    if len(text) > LARGEST:
        raise UsageError(f"{where} holds more than {LARGEST:,} characters; that is no preset.")
    if found := re.search(_CONTROL, text):
        line = text.count("\n", 0, found.start()) + 1
        code, escape = f"U+{ord(found[0]):04X}", _escaped(found[0])
        raise UsageError(f"{where}, line {line}: the character {code} may not stand in YAML as it is; in double quotes it is {escape}.")
    try:
        return _Builder(where).build(yaml.parse(text, Loader=yaml.SafeLoader))
    except UsageError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{where}, line {mark.line + 1}" if mark else where
        raise UsageError(f"{place}: this is not YAML: {error.problem or error.context}.") from None
    except (yaml.YAMLError, ValueError, OverflowError):  # PyYAML lets escapes beyond Unicode through as these
        raise UsageError(f"{where}: this is not YAML: it holds a number or an escape that stands for nothing.") from None


@dataclass
class _Open:
    """A list or mapping whose end was not seen yet."""

    node: Node
    key: Node | None = None  # the key that waits for its value
    seen: dict[tuple[type, Any], int] = field(default_factory=dict)  # keys and their lines


class _Builder:
    """Puts parse events together, without recursion."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.stack: list[_Open] = []
        self.root: Node | None = None
        self.count = 0

    def build(self, events: Iterable[Event]) -> Node | None:
        import yaml

        documents = 0
        for event in events:
            line = event.start_mark.line + 1 if event.start_mark else 0
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.error(line, "a second document begins here; a preset is one document.")
            elif isinstance(event, yaml.NodeEvent):
                self.node(event, line)
            elif isinstance(event, yaml.CollectionEndEvent):
                self.close()
        return self.root

    def error(self, line: int, sentence: str) -> UsageError:
        return UsageError(f"{self.where}, line {line}: {sentence}")

    def node(self, event: Any, line: int) -> None:
        """One scalar, or the start of a list or mapping, after everything that is refused."""
        import yaml

        if isinstance(event, yaml.AliasEvent):
            raise self.error(line, f"aliases (*{shown(str(event.anchor))}) are not allowed in a preset; write the value out.")
        if event.anchor is not None:
            raise self.error(line, f"anchors (&{shown(event.anchor)}) are not allowed in a preset.")
        if event.tag is not None:
            raise self.error(line, f"tags ({shown(event.tag)}) are not allowed in a preset.")
        self.count += 1
        if self.count > MOST:
            raise self.error(line, f"here are more than {MOST:,} values; that is no preset.")
        if isinstance(event, yaml.ScalarEvent):
            if any("\ud800" <= character <= "\udfff" for character in event.value):
                raise self.error(line, "half of a surrogate pair is no character; write the character itself.")
            self.place(Node("scalar", line, event.value if event.style else scalar(event.value)))
            return
        if len(self.stack) == DEEPEST:
            raise self.error(line, f"lists and mappings stand more than {DEEPEST} deep within each other; a preset needs five levels.")
        kind = "list" if isinstance(event, yaml.SequenceStartEvent) else "mapping"
        if self.stack and self.stack[-1].node.kind == "mapping" and self.stack[-1].key is None:
            raise self.error(line, f"a {kind} cannot be a key.")
        self.stack.append(_Open(Node(kind, line, [])))

    def close(self) -> None:
        self.place(self.stack.pop().node)

    def place(self, node: Node) -> None:
        """Put a finished node where it belongs: into the list or mapping around it, or at the root."""
        if not self.stack:
            self.root = node
            return
        around = self.stack[-1]
        if around.node.kind == "list":
            around.node.value.append(node)
        elif around.key is None:
            name = (type(node.value), node.value)
            if name in around.seen:
                raise self.error(node.line, f"the key {shown(quoted(node.value))} stands twice; the first is in line {around.seen[name]}.")
            around.seen[name] = node.line
            around.key = node
        else:
            around.node.value.append((around.key, node))
            around.key = None
