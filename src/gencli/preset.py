"""YAML <-> Preset: the stages in their order and what else a run needs, every value with its origin.

Knows no command line and no tensors.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from gencli.errors import UsageError, shown, unknown
from gencli.preset_folders import find_preset, preset_names, same
from gencli.preset_reading import DEFAULTS, Parts, Source, StageSettings, Value, check_knob, read
from gencli.preset_yaml import parse, quoted, read_text
from gencli.registry import find, names
from gencli.stages import Stage, knobs

__all__ = ["DEFAULTS", "Preset", "StageSettings", "Value", "find_preset", "preset_names"]

UNSET = {"end_tokens": "the checkpoint's own", "template": "none"}  # what None means, in words
LONGEST_CHAIN = 20  # presets that extend each other


@dataclass(frozen=True)
class Preset:
    """How to generate: stages in order, and `settings` of stop (texts), max_new_tokens, end_tokens (texts
    or ids), strategy (a name) and template (a text with one {}), as far as they were set."""

    name: str | None = None
    description: str = ""
    path: str | None = None
    pipeline: tuple[StageSettings, ...] = ()
    settings: tuple[tuple[str, Value], ...] = ()

    @classmethod
    def load(cls, name_or_path: str | os.PathLike[str]) -> Preset:
        """The preset of a name (the user's, then the shipped) or path; raises `UsageError` with file and line."""
        return _load(find_preset(name_or_path), ())

    @classmethod
    def loads(cls, text: str, where: str = "preset") -> Preset:
        """The preset that a YAML text describes; `where` names the text in errors and origins."""
        source = Source(where, where)
        return _merged(read(parse(text, where), source), source, None, ())

    @classmethod
    def from_dict(cls, values: Any) -> Preset:
        """The preset that `to_dict` made these values from; raises `UsageError` where they are none.

        Its stages are checked, but not bound: those that were bound before they were written stay so.
        """
        try:
            pipeline = tuple(_stage_from(item) for item in values["pipeline"])
            settings = {key: _value_from(value) for key, value in values.get("settings", {}).items() if key in DEFAULTS}
            texts = {key: values.get(key) for key in ("name", "path")}
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"these are not the values of a preset ({type(error).__name__}: {shown(str(error))}).") from None
        given = tuple((key, value) for key, value in settings.items() if value.origin != "default")
        return cls(**texts, description=str(values.get("description", "")), pipeline=pipeline, settings=given)

    def dumps(self, resolved: bool = False) -> str:
        """The preset as YAML that `loads` reads back, what it extends included.

        `resolved` adds the defaults, and behind every value a comment that names its origin.
        """
        head = [f"description: {quoted(self.description)}"] if self.description else []
        head.append("pipeline:" if self.pipeline else "pipeline: []")
        if resolved:
            return "\n".join([*head, *_with_origins(self)]) + "\n"
        stages = [f"  - {_written(each)}" for each in self.pipeline]
        return "\n".join([*head, *stages, *(f"{key}: {_setting_written(value.value)}" for key, value in self.settings)]) + "\n"

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a setting, or `default` where it is not set."""
        return next((value.value for name, value in self.settings if name == key), default)

    def with_default(self, key: str, value: Any) -> Preset:
        """The same preset, with this value for a setting that it does not say."""
        given = dict(self.settings)
        return self if key in given else replace(self, settings=(*self.settings, (key, Value(value, "default"))))

    def stages(self) -> list[tuple[str, Stage]]:
        """The pipeline's stages by name, built and checked."""
        return [(each.stage, each.build()) for each in self.pipeline]

    def to_dict(self, bound: Sequence[Stage] | None = None) -> dict[str, Any]:
        """The preset as JSON values, complete: defaults stand beside what was set, each with its origin.

        `{"name", "description", "path", "pipeline": [{"stage", "origin", "knobs": {name: {"value",
        "origin"}}}], "settings": {name: {"value", "origin"}}}`. With `bound`, the pipeline's stages bound
        to a vocabulary, knobs hold their values (ids instead of text), and "bound" what else a stage
        learned from it and compares by. -inf, which JSON lacks, is "-inf". `from_dict` is the way back.
        """
        given = dict(self.settings)
        stages: Sequence[Stage | None] = bound or [None] * len(self.pipeline)
        return {
            "name": self.name,
            "description": self.description,
            "path": self.path,
            "pipeline": [_stage_dict(each, stage) for each, stage in zip(self.pipeline, stages, strict=True)],
            "settings": {key: _value_dict(given.get(key, Value(default, "default"))) for key, default in DEFAULTS.items()},
        }


def _with_origins(preset: Preset) -> list[str]:
    """Every knob and setting on a line of its own, origins in a column."""
    lines: list[tuple[str, str]] = []
    for each in preset.pipeline:
        lines.append((f"  - {each.stage}:", ""))
        values = _all_knobs(each)
        lines += [(f"      {name}: {text}", values[name].origin) for name, text in _knobs_written(each.stage, values).items()]
    given = dict(preset.settings)
    for key, default in DEFAULTS.items():
        value = given.get(key, Value(default, "default"))
        written = f"# {key}: {UNSET[key]}" if value.value is None else f"{key}: {_setting_written(value.value)}"
        lines.append((written, value.origin))
    column = max(len(text) for text, origin in lines if origin)
    return [f"{text:{column}}  # {_printable(origin)}" if origin else text for text, origin in lines]


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)


def _all_knobs(settings: StageSettings) -> dict[str, Value]:
    """Every knob of a stage, those that were not set with their defaults."""
    given = dict(settings.knobs)
    return {each.name: given.get(each.name, Value(each.default, "default")) for each in knobs(find("stages", settings.stage))}


def _stage_dict(settings: StageSettings, bound: Stage | None) -> dict[str, Any]:
    values = {name: value if bound is None else Value(getattr(bound, name), value.origin) for name, value in _all_knobs(settings).items()}
    known = {name: _value_dict(value) for name, value in values.items()}
    others = () if bound is None else fields(bound)  # type: ignore[arg-type]
    learned = {each.name: _json(getattr(bound, each.name)) for each in others if not each.metadata and each.compare}
    more = {"bound": learned} if learned else {}
    return {"stage": settings.stage, "origin": settings.origin, "knobs": known, **more}


def _stage_from(item: Any) -> StageSettings:
    """The way back from `_stage_dict`, checked."""
    stage = item["stage"]
    if stage not in names("stages"):
        raise unknown("stage", shown(str(stage)), names("stages"))
    kind = find("stages", stage)
    known, others = {each.name: each for each in knobs(kind)}, {each.name for each in fields(kind) if not each.metadata}
    given = []
    for name, written in item["knobs"].items():
        value = _value_from(written)
        plain = value.value
        if known[name].kind == "map":
            plain = [(token, -math.inf if number == "-inf" else number) for token, number in plain]
        given.append((name, Value(check_knob(stage, name, plain), value.origin)))
    learned = {name: _frozen(value) for name, value in item.get("bound", {}).items() if name in others}
    return StageSettings(stage, tuple(given), str(item.get("origin", "default")), tuple(learned.items()))


def _value_from(written: Any) -> Value:
    return Value(_frozen(written["value"]), str(written.get("origin", "default")))


def _frozen(value: Any) -> Any:
    """Lists of JSON as the tuples they were; raises TypeError for what no setting holds."""
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if value is not None and not isinstance(value, bool | int | float | str):
        raise TypeError(f"{type(value).__name__} is no value of a setting")
    return value


def _value_dict(value: Value) -> dict[str, Any]:
    return {"value": _json(value.value), "origin": value.origin}


def _json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def _written(settings: StageSettings) -> str:
    """A pipeline item as `dumps` writes it: the shortest form that reads back the same."""
    if not settings.knobs:
        return settings.stage
    first = knobs(find("stages", settings.stage))[0].name
    texts = _knobs_written(settings.stage, dict(settings.knobs))
    if set(texts) == {first}:
        return f"{settings.stage}: {texts[first]}"
    return f"{settings.stage}: {{{', '.join(f'{name}: {text}' for name, text in texts.items())}}}"


def _knobs_written(stage: str, values: Mapping[str, Value]) -> dict[str, str]:
    """The values of a stage's knobs as YAML."""
    maps = {each.name for each in knobs(find("stages", stage)) if each.kind == "map"}
    return {name: (_map_written if name in maps else _setting_written)(value.value) for name, value in values.items()}


def _map_written(value: tuple[tuple[str | int, float], ...]) -> str:
    pairs = [(quoted(token), quoted(number)) for token, number in value]
    if len(pairs) == len(dict(pairs)):
        return "{" + ", ".join(f"{token}: {number}" for token, number in pairs) + "}"
    return "[" + ", ".join(f"[{token}, {number}]" for token, number in pairs) + "]"  # a mapping holds a key once


def _setting_written(value: Any) -> str:
    return f"[{', '.join(map(_setting_written, value))}]" if isinstance(value, tuple) else quoted(value)


def _load(path: Path, children: tuple[Path, ...]) -> Preset:
    source = Source(str(path), f"preset {path.stem} ({path.name}")
    parts = read(parse(read_text(path), str(path)), source)
    return _merged(parts, source, path, (*children, path))


def _merged(parts: Parts, source: Source, path: Path | None, chain: tuple[Path, ...]) -> Preset:
    """A preset on top of the one it extends: its pipeline and each of its settings replace the parent's."""
    parent = Preset() if parts.extends is None else _parent(parts, source, path, chain)
    return Preset(
        name=path.stem if path else None,
        description=parts.description,
        path=str(path) if path else None,
        pipeline=parent.pipeline if parts.pipeline is None else parts.pipeline,
        settings=tuple({**dict(parent.settings), **parts.settings}.items()),
    )


def _parent(parts: Parts, source: Source, path: Path | None, chain: tuple[Path, ...]) -> Preset:
    where = f"{source.where}, line {parts.line}"
    found = find_preset(parts.extends or "", base=path.parent if path else None, asking=path, where=where)
    if any(same(found, each) for each in chain):
        way = " -> ".join(each.name for each in (*chain, found))
        raise UsageError(f"{where}: extends leads a preset back to itself ({way}).")
    if len(chain) == LONGEST_CHAIN:
        raise UsageError(f"{where}: presets extend each other more than {LONGEST_CHAIN} levels deep.")
    return _load(found, chain)
