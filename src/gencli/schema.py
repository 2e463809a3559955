"""The published shape of the events: its JSON Schema, and the way back from JSON values. Both come from `events.py` alone."""

from __future__ import annotations

import base64
import inspect
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from gencli.errors import shown
from gencli.events import EVENTS, LEFT_OUT, REASONS, VERSION, Candidate, Event, Finished, Logits, StageReport, Started

DRAFT = "https://json-schema.org/draft/2020-12/schema"
PARTS = (Candidate, StageReport, Logits)  # what events are made of
PLAIN = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null", Any: None}
# where the set of values is smaller than the type's
NARROWER: dict[tuple[type, str], dict[str, Any]] = {
    (Started, "version"): {"const": VERSION},
    (Finished, "reason"): {"enum": list(REASONS)},
}


def schema() -> dict[str, Any]:
    """The JSON Schema of one event. Readers ignore fields that they do not know, so others are allowed."""
    return {
        "$schema": DRAFT,
        "title": f"gencli events, version {VERSION}",
        "description": "One event of a run. A line of --format jsonl or --trace is one such object.",
        "oneOf": [{"$ref": f"#/$defs/{kind.event}"} for kind in EVENTS],
        "$defs": {
            **{kind.event: _object(kind, {"event": {"const": kind.event}}) for kind in EVENTS},
            **{part.__name__: _object(part, {}) for part in PARTS},
        },
    }


def run_schema() -> dict[str, Any]:
    """The JSON Schema of `--format json`: the whole run as one object."""
    part = {"$ref": "#/$defs/finish"}
    sample = {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "ids": {"type": "array", "items": {"type": "integer"}},
            "finish": {"anyOf": [part, {"type": "null"}]},
            "tokens": {"type": "array", "items": {"$ref": "#/$defs/token"}},
        },
        "required": ["text", "ids", "finish"],
    }
    return {
        "$schema": DRAFT,
        "title": f"gencli generate --format json, version {VERSION}",
        "type": "object",
        "properties": {"start": {"$ref": "#/$defs/start"}, "samples": {"type": "array", "items": sample}},
        "required": ["start", "samples"],
        "$defs": schema()["$defs"],
    }


def report_schema(kind: type, title: str) -> dict[str, Any]:
    """The JSON Schema of a report, a dataclass of plain values: what `dataclasses.asdict` makes of one."""
    parts: dict[str, Any] = {}

    def collect(hint: Any) -> None:
        if is_dataclass(hint) and isinstance(hint, type) and hint.__name__ not in parts:
            parts[hint.__name__] = _object(hint, {})
            for each in _types(hint).values():
                collect(each)
        for argument in get_args(hint):
            collect(argument)

    for hint in _types(kind).values():
        collect(hint)
    return {"$schema": DRAFT, "title": title, **_object(kind, {}), "$defs": parts}


def event_from(values: Mapping[str, Any]) -> Event | None:
    """The event that `to_dict` made these values from; None for an event that this version does not know.

    Fields that it does not know are passed over. Raises ValueError, TypeError or KeyError where the
    values do not fit.
    """
    kind = next((kind for kind in EVENTS if kind.event == values["event"]), None)
    event: Event | None = None if kind is None else _revived(kind, values)
    return event


@cache
def _types(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _object(kind: type, before: dict[str, Any]) -> dict[str, Any]:
    properties = {field.name: NARROWER.get((kind, field.name)) or _shape(_types(kind)[field.name]) for field in fields(kind)}
    required = [field.name for field in fields(kind) if field.name != LEFT_OUT.get(kind)]
    return {
        "description": inspect.cleandoc(kind.__doc__ or ""),
        "type": "object",
        "properties": {**before, **properties},
        "required": [*before, *required],
    }


def _shape(hint: Any) -> dict[str, Any]:
    """The schema of a value of this type."""
    if hint is bytes:
        return {"type": "string", "contentEncoding": "base64"}
    if hint in PLAIN:
        return {"type": PLAIN[hint]} if PLAIN[hint] else {}
    if is_dataclass(hint) and isinstance(hint, type):
        return {"$ref": f"#/$defs/{hint.__name__}"}
    if isinstance(hint, UnionType):
        return {"anyOf": [_shape(choice) for choice in get_args(hint)]}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _shape(get_args(hint)[0])}
    if get_origin(hint) is dict:
        values = _shape(get_args(hint)[1])
        return {"type": "object", **({"additionalProperties": values} if values else {})}
    raise TypeError(f"events.py holds a type that has no JSON Schema here: {hint}.")


def _value(hint: Any, value: Any) -> Any:
    """A JSON value as one of this type."""
    if hint is bytes:
        return base64.b64decode(value, validate=True)
    if isinstance(hint, UnionType):
        return None if value is None else _value(get_args(hint)[0], value)
    if is_dataclass(hint) and isinstance(hint, type):
        return _revived(hint, value)
    if get_origin(hint) is tuple:
        return tuple(_value(get_args(hint)[0], item) for item in value)
    wanted = (int, float) if hint is float else get_origin(hint) or hint
    if hint is not Any and (not isinstance(value, wanted) or (isinstance(value, bool) and hint is not bool)):
        raise TypeError(f"{shown(value)} is no {getattr(hint, '__name__', hint)}")
    if get_origin(hint) is dict:
        return {key: _value(get_args(hint)[1], item) for key, item in value.items()}
    return _finite(value) if hint is float else value


def _finite(value: int | float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("a number is too large, or none")
    return number


def _revived(kind: type, values: Mapping[str, Any]) -> Any:
    given = {field.name: _value(_types(kind)[field.name], values[field.name]) for field in fields(kind) if field.name in values}
    missing = [field.name for field in fields(kind) if field.name not in given and field.default is MISSING]
    if missing:
        raise KeyError(f"{', '.join(missing)} missing")
    return kind(**given)
