"""YAML nodes -> checked settings, every mistake with its file and line. Knows no folder, no parent and no command line."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gencli.errors import UsageError, unknown
from gencli.preset_yaml import Node, quoted, shown
from gencli.registry import find, names
from gencli.stages import Knob, Stage, build, knobs, spellings
from gencli.stopping import Limits

# what a preset may say beside its pipeline, and what holds where it says nothing (None: the checkpoint decides)
DEFAULTS: dict[str, Any] = {
    "stop": (),
    "max_new_tokens": Limits.max_new_tokens,
    "end_tokens": None,
    "strategy": "sample",
    "template": None,
}
KEYS = ("description", "extends", "pipeline", *DEFAULTS)
LONGEST_SENTENCE = 700  # characters; an error quotes values, and a value may be long


@dataclass(frozen=True)
class Value:
    """A setting and where it comes from: "flag --top-k", "environment GENCLI_TOP_K",
    "preset creative (creative.yaml, line 5)", "generation_config" or "default"."""

    value: Any
    origin: str


@dataclass(frozen=True)
class StageSettings:
    """A stage in a pipeline with those of its knobs that were set; `origin` tells who put it there.

    `bound` holds what the stage learned from a vocabulary, where it was bound to one before it was
    written down: fields that are no knobs. None: it was not.
    """

    stage: str
    knobs: tuple[tuple[str, Value], ...] = ()
    origin: str = "default"
    bound: tuple[tuple[str, Any], ...] | None = None

    def build(self) -> Stage:
        """The stage itself, its knobs checked; raises `UsageError`."""
        built: Stage = build(self.stage, find("stages", self.stage), {name: value.value for name, value in self.knobs})
        return dataclasses.replace(built, **dict(self.bound)) if self.bound else built  # type: ignore[type-var]

    def with_knob(self, name: str, value: Value) -> StageSettings:
        """The same stage with one knob set anew, to be bound again."""
        return StageSettings(self.stage, tuple({**dict(self.knobs), name: value}.items()), self.origin)


@dataclass(frozen=True)
class Source:
    """Where a text comes from: `where` begins its errors, `name` its origins."""

    where: str
    name: str

    def origin(self, line: int) -> str:
        """Where a value stands: "preset creative (creative.yaml, line 5)"."""
        return f"{self.name}, line {line}{')' if '(' in self.name else ''}"

    @contextmanager
    def at(self, line: int) -> Iterator[None]:
        """A `UsageError` raised inside tells the file and this line."""
        try:
            yield
        except UsageError as error:
            sentence = str(error)
            if len(sentence) > LONGEST_SENTENCE:
                sentence = sentence[: LONGEST_SENTENCE - 3] + "..."
            raise UsageError(f"{self.where}, line {line}: {sentence}") from None


@dataclass
class Parts:
    """What one file says by itself; `pipeline` is None where it says nothing of it, `line` is that of `extends`."""

    description: str = ""
    extends: str | None = None
    line: int = 0
    pipeline: tuple[StageSettings, ...] | None = None
    settings: dict[str, Value] = field(default_factory=dict)


def read(node: Node | None, source: Source) -> Parts:
    """The settings of a parsed preset; raises `UsageError` with file, line, choices and the nearest name."""
    if node is None or (node.kind == "scalar" and node.value is None):
        raise UsageError(f"{source.where} is empty; a preset says at least one of {', '.join(KEYS)}.")
    with source.at(node.line):
        if node.kind != "mapping":
            raise UsageError(f"a preset is a mapping of {', '.join(KEYS)} to their values, not {_said(node)}.")
    parts = Parts()
    for key, value in node.value:
        with source.at(key.line):
            if key.value not in KEYS:
                raise unknown("key", shown(str(key.value)), KEYS)
        if key.value == "pipeline":
            parts.pipeline = _pipeline(value, source)
            continue
        with source.at(value.line):
            if key.value == "description":
                parts.description = _text(value, "description")
            elif key.value == "extends":
                parts.extends, parts.line = _text(value, "extends"), value.line
            else:
                parts.settings[key.value] = Value(_SETTINGS[key.value](value), source.origin(value.line))
    return parts


def _said(node: Node) -> str:
    """A value as an error names it."""
    return shown(quoted(node.value)) if node.kind == "scalar" else f"a {node.kind}"


def _text(node: Node, label: str) -> str:
    if node.kind != "scalar" or not isinstance(node.value, str) or not node.value:
        hint = "; put it in quotes" if node.kind == "scalar" and node.value not in (None, "") else ""
        raise UsageError(f"{label} must be a text that is not empty, not {_said(node)}{hint}.")
    return node.value


def _stop(node: Node) -> tuple[str, ...]:
    return tuple(_text(each, "stop") for each in (node.value if node.kind == "list" else [node]))


def _max_new_tokens(node: Node) -> int:
    if node.kind != "scalar" or type(node.value) is not int or node.value < 1:
        raise UsageError(f"max_new_tokens must be a whole number at least 1, not {_said(node)}.")
    return node.value


def _end_tokens(node: Node) -> tuple[str | int, ...]:
    tokens = node.value if node.kind == "list" else [node]
    for each in tokens:
        if each.kind != "scalar" or type(each.value) not in (int, str) or each.value == "" or (type(each.value) is int and each.value < 0):
            raise UsageError(f"end_tokens must be token ids (0 or more) or the texts of tokens, not {_said(each)}.")
    return tuple(each.value for each in tokens)


def _strategy(node: Node) -> str:
    name = _text(node, "strategy")
    if name not in names("strategies"):
        raise unknown("strategy", shown(name), names("strategies"))
    return name


def _template(node: Node) -> str:
    text = _text(node, "template")
    if text.count("{}") != 1:
        raise UsageError(f"template must hold {{}}, the place of the prompt, exactly once, not {text.count('{}')} times.")
    return text


_SETTINGS = {"stop": _stop, "max_new_tokens": _max_new_tokens, "end_tokens": _end_tokens, "strategy": _strategy, "template": _template}


def _pipeline(node: Node, source: Source) -> tuple[StageSettings, ...]:
    with source.at(node.line):
        if node.kind != "list":
            raise UsageError(f"pipeline must be a list of stages, each behind a '- ', not {_said(node)}.")
    return tuple(_item(item, source) for item in node.value)


def _item(item: Node, source: Source) -> StageSettings:
    """`- stage`, `- stage: value` or `- stage: {knob: value}`."""
    with source.at(item.line):
        if item.kind == "list" or (item.kind == "scalar" and not isinstance(item.value, str)):
            raise UsageError(f"a stage must stand here, not {_said(item)}.")
        if item.kind == "mapping" and len(item.value) != 1:
            raise UsageError(f"one item of the pipeline is one stage, not {len(item.value)}; put a '- ' before each.")
        key, value = (item, None) if item.kind == "scalar" else item.value[0]
        stage = spellings().get(key.value)
        if stage is None:
            raise unknown("stage", shown(str(key.value)), names("stages"))
    settings = StageSettings(stage, origin=source.origin(item.line))
    for knob, node in _given(stage, value, source) if value else ():
        with source.at(node.line):
            checked = check_knob(stage, knob, plain(node, _knob(stage, knob), stage))
        settings = settings.with_knob(knob, Value(checked, source.origin(node.line)))
    return settings


def _knob(stage: str, name: str) -> Knob | None:
    return next((each for each in knobs(find("stages", stage)) if each.name == name), None)


def check_knob(stage: str, knob: str, value: Any, label: str = "") -> Any:
    """The value as the stage takes it, or a `UsageError` with the range, the knobs and the nearest name."""
    return getattr(build(stage, find("stages", stage), {knob: value}, label), knob)


def _given(stage: str, node: Node, source: Source) -> list[tuple[str, Node]]:
    """The knobs that a stage's value sets: a bare value is the first knob's."""
    known = knobs(find("stages", stage))
    with source.at(node.line):
        if node.kind == "scalar" and node.value is None:
            raise UsageError(f"{stage} has no value; write one ({known[0].range()}), or '- {stage}' alone.")
        if node.kind != "mapping" or (known[0].kind == "map" and not _names_knobs(node, known)):
            return [(known[0].name, node)]
        if not node.value:
            raise UsageError(f"{stage} has no value; its knobs are {', '.join(each.name for each in known)}.")
    for key, _ in node.value:
        with source.at(key.line):
            if key.value not in [each.name for each in known]:
                raise unknown(f"knob of {stage}", shown(str(key.value)), (each.name for each in known))
    return [(key.value, value) for key, value in node.value]


def _names_knobs(node: Node, known: tuple[Knob, ...]) -> bool:
    """Whether a mapping names knobs, where a bare one would be the value of the first knob itself.

    It does if every key is a knob and the first knob, if it is there, has no bare number.
    """
    values = {key.value: value for key, value in node.value}
    first = values.get(known[0].name)
    return bool(values) and set(values) <= {each.name for each in known} and (first is None or first.kind != "scalar")


def plain(node: Node, knob: Knob | None, label: str) -> Any:
    """A node as the value of a knob; in a map of tokens to numbers the text "-inf" is the number."""
    value = node.plain()
    if knob is None or knob.kind != "map":
        return value
    if isinstance(value, dict):
        value = list(value.items())
    if not isinstance(value, list):
        return value
    pairs = [item if isinstance(item, list | tuple) and len(item) == 2 else None for item in value]
    if None in pairs:
        raise UsageError(f"{label} must be {knob.range()}; in a list each item is a pair of both.")
    return [(token, -math.inf if number == "-inf" else number) for token, number in filter(None, pairs)]
