"""What flags, environment, preset and checkpoint say, resolved into one Preset. Knows no click and no tensors.

Precedence: flag > environment > preset > default; every value keeps its origin.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gencli.errors import RunError, UsageError, unknown
from gencli.importers import stage_of
from gencli.importers.transformers import wishes
from gencli.preset import DEFAULTS, Preset, StageSettings, Value
from gencli.preset_reading import check_knob, plain
from gencli.preset_yaml import parse, scalar, shown
from gencli.registry import find, names
from gencli.stages import Knob, knobs, spellings

ENVIRONMENT = "environment"  # how the origin of a value from an environment variable begins

# what --set takes: stage=value, stage.knob=value, stage#2.knob=value
SET = re.compile(r"(?P<stage>[^=.#]*)(#(?P<number>[0-9]{1,6}))?(\.(?P<knob>[^=]*))?=(?P<text>.*)", re.DOTALL)


@dataclass(frozen=True)
class Given:
    """What a person asked for, beside the checkpoint.

    `preset` is a name or path. `flags` holds a stage's first knob under the stage's name, and "stop" and
    "max_new_tokens"; `sets` the texts of --set; `pipeline` stage names between commas. Origins begin
    with "flag " or "environment ", followed by the name that was typed.
    """

    preset: str | None = None
    flags: Mapping[str, Value] = field(default_factory=dict)
    sets: Sequence[Value] = ()
    pipeline: Value | None = None


def resolve(given: Given, generation_config: Mapping[str, Any] | None = None, base: Preset | None = None) -> Preset:
    """The preset, or where none is named `base`, with everything else laid over it.

    Without either the pipeline holds only the stages that flags or the environment name; if there are
    none, those of the checkpoint's generation_config; if there are none, nothing: the model's own
    distribution. Raises `UsageError` for what was asked wrongly, `RunError` for a damaged generation_config.
    """
    preset = base or Preset() if given.preset is None else Preset.load(given.preset)
    assignments = _assignments(given)
    if given.preset is None and base is None and given.pipeline is None and not assignments:
        preset = from_generation_config(generation_config or {})
    pipeline = list(preset.pipeline) if given.pipeline is None else _kept(preset.pipeline, given.pipeline)
    for assignment in assignments:
        _assign(pipeline, assignment, given.pipeline)
    settings = {**dict(preset.settings), **{key: value for key, value in given.flags.items() if key in DEFAULTS}}
    return replace(preset, pipeline=tuple(pipeline), settings=tuple(settings.items()))


def changed(preset: Preset, sets: Sequence[Value], only: Value | None = None) -> Preset:
    """The preset with single knobs set anew, as --set would; `only` is the --pipeline it was resolved with. Raises `UsageError`."""
    pipeline = list(preset.pipeline)
    for value in sets:
        _assign(pipeline, _from_set(value), only)
    return replace(preset, pipeline=tuple(pipeline))


def from_generation_config(config: Mapping[str, Any]) -> Preset:
    """The pipeline that a checkpoint recommends, in transformers' order.

    Only what the file names counts (not transformers' own defaults, such as a top_k of 50), neutral
    values are left out, and so is what gencli has no stage for. `do_sample: false` is temperature 0; an
    absent `do_sample` does not forbid sampling.
    """

    def silent(sentence: str) -> None:
        """`gencli presets import` names what is missing; a run just starts."""

    try:
        wanted = wishes(config, lambda key: "generation_config", lambda key: "", silent)
        pipeline = [stage_of(wish, silent) for wish in wanted]
    except (UsageError, OverflowError) as error:
        hint = "name a preset, or a stage by its flag, to do without it"
        raise RunError(f"the checkpoint's generation_config.json does not hold: {error} ({hint})") from None
    return Preset(pipeline=tuple(filter(None, pipeline)))


def value_of(knob: Knob, text: str, label: str) -> Any:
    """A knob's value from what was typed behind `label`; raises `UsageError`. The range is not checked here."""
    if knob.kind in ("float", "int"):
        return scalar(text.strip()) if text.strip() else text
    if not knob.holds_several:
        return text
    if text.lstrip().startswith(("{", "[")):
        node = parse(text, label)
        return plain(node, knob, label) if node else ()
    return (item_of(knob, text, label),)


def item_of(knob: Knob, text: str, label: str) -> Any:
    """One item of a knob that holds several: TEXT_OR_ID=NUMBER of a map, TEXT_OR_ID of words."""
    return _pair(text, label) if knob.kind == "map" else _token(text, label)


def _pair(text: str, label: str) -> tuple[str | int, Any]:
    """TEXT_OR_ID=NUMBER: the last = counts."""
    token, equals, number = text.rpartition("=")
    bias = -float("inf") if number.strip() == "-inf" else scalar(number.strip())
    if not equals or not token or isinstance(bias, str | None):
        raise UsageError(f"{label} must be TEXT_OR_ID=NUMBER (a number or -inf), not {shown(text)!r}.")
    return _token(token, label), bias


def _token(text: str, label: str) -> str | int:
    """TEXT_OR_ID: digits are an id, and double quotes make a text of anything."""
    if text[:1] == '"' and text[-1:] == '"' and len(text) > 1:
        try:
            return str(json.loads(text))
        except ValueError:
            raise UsageError(f"{label}: {shown(text)} is not a text in double quotes.") from None
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else text


@dataclass(frozen=True)
class _Assignment:
    """One knob of one stage set anew; `number` counts the stages of that name from 1 (None: the only one)."""

    stage: str
    number: int | None
    knob: str
    value: Value
    label: str  # what was typed: "--top-k", "GENCLI_TOP_K", "--set top_k=40"

    @property
    def from_environment(self) -> bool:
        return self.value.origin.startswith(ENVIRONMENT)


def _assignments(given: Given) -> list[_Assignment]:
    """What flags and the environment set, checked, the weaker first, so that the stronger ones win."""
    found = [_from_flag(stage, value) for stage, value in sorted(given.flags.items()) if stage not in DEFAULTS]
    found += [_from_set(value) for value in given.sets]
    spoken: dict[tuple[str, int, str], _Assignment] = {}
    for each in found:
        key = (each.stage, each.number or 1, each.knob)
        earlier = spoken.setdefault(key, each)
        both_from_one_place = earlier.from_environment == each.from_environment
        is_flag_against_set = earlier.label.split()[0] != each.label.split()[0]
        if both_from_one_place and is_flag_against_set and earlier.value.value != each.value.value:
            raise UsageError(f"{earlier.label} and {each.label} set the same to different values; give one of them.")
    return sorted(found, key=lambda each: not each.from_environment)


def _label(value: Value) -> str:
    return value.origin.split(" ", 1)[-1]


def _from_flag(word: str, value: Value) -> _Assignment:
    stage = spellings().get(word)
    if stage is None:
        raise unknown("stage", shown(word), names("stages"))
    first, label = knobs(find("stages", stage))[0].name, _label(value)
    return _Assignment(stage, None, first, Value(check_knob(stage, first, value.value, label), value.origin), label)


def _from_set(value: Value) -> _Assignment:
    label = f"{_label(value)} {shown(value.value)}"
    spoken = label.split("=")[0]
    match = SET.fullmatch(value.value)
    if match is None:
        raise UsageError(f"{label}: what is set must look like stage=value, stage.knob=value or stage#2.knob=value.")
    word, number = match["stage"].strip().replace("-", "_"), match["number"]
    stage = spellings().get(word)
    if stage is None:
        raise unknown("stage", shown(word), names("stages"), label)
    if number and int(number) == 0:
        raise UsageError(f"{label}: stages are counted from 1.")
    known = {each.name: each for each in knobs(find("stages", stage))}
    name = next(iter(known)) if match["knob"] is None else match["knob"].strip()
    if name not in known:
        raise unknown(f"knob of {stage}", shown(name), known, label)
    checked = check_knob(stage, name, value_of(known[name], match["text"], spoken), spoken)
    return _Assignment(stage, int(number) if number else None, name, Value(checked, value.origin), label)


def _kept(pipeline: Sequence[StageSettings], wanted: Value) -> list[StageSettings]:
    """Exactly the stages that --pipeline names; the n-th of a name has the knobs of the preset's n-th."""
    left = list(pipeline)
    kept = []
    for part in wanted.value.split(",") if wanted.value.strip() else ():
        word = part.strip().replace("-", "_")
        stage = spellings().get(word)
        if stage is None:
            raise unknown("stage", shown(word), names("stages"), _label(wanted))
        settings = next((each for each in left if each.stage == stage), None)
        if settings:
            left.remove(settings)
        kept.append(settings or StageSettings(stage, origin=wanted.origin))
    return kept


def _assign(pipeline: list[StageSettings], assignment: _Assignment, only: Value | None) -> None:
    """Set one knob in the pipeline; a stage it lacks is put at its standard place, unless --pipeline left it out."""
    stage, number = assignment.stage, assignment.number
    places = [at for at, each in enumerate(pipeline) if each.stage == stage]
    if not places and (number or 1) == 1:
        if only is not None:
            if assignment.from_environment:
                return
            raise UsageError(f"{assignment.label} sets {stage}, which {_label(only)} leaves out; name it there.")
        places = [_insert(pipeline, StageSettings(stage, origin=assignment.value.origin))]
    if number is None and len(places) > 1:
        choices = " or ".join(f"--set {stage}#{count}.{assignment.knob}=..." for count in range(1, len(places) + 1))
        raise UsageError(f"{assignment.label}: {stage} stands {len(places)} times in the pipeline; say which one is meant: {choices}.")
    if (number or 1) > len(places):
        raise UsageError(f"{assignment.label}: {stage} stands {len(places)} times in the pipeline; there is no {stage}#{number}.")
    at = places[(number or 1) - 1]
    pipeline[at] = pipeline[at].with_knob(assignment.knob, assignment.value)


def _insert(pipeline: list[StageSettings], settings: StageSettings) -> int:
    """Put a stage before the first one whose standard place is higher; answers where it stands now."""
    place = find("stages", settings.stage).place
    later = (at for at, each in enumerate(pipeline) if find("stages", each.stage).place > place)
    at = next(later, len(pipeline))
    pipeline.insert(at, settings)
    return at
