"""What is set against each other: presets, lists of values and variants -> named presets. Knows no click and no tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from gencli.errors import UsageError
from gencli.preset import Preset, Value
from gencli.registry import find
from gencli.settings import SET, Given, changed, resolve
from gencli.stages import knobs, spellings

MODEL_ALONE = "the model alone"
LISTED = ("float", "int", "choice")  # kinds of knobs whose values hold no comma, so that commas make a list
MOST = 1000

_NEXT = re.compile(r"\s*[A-Za-z_-]+(#[0-9]+)?(\.[A-Za-z_-]+)?\s*=")


@dataclass(frozen=True)
class Variation:
    """One of several ways to write: its name, its preset, and the settings by which it differs from its siblings."""

    name: str
    preset: Preset
    varied: Mapping[str, str]


def variations(
    given: Given, presets: Sequence[str] = (), variants: Sequence[Value] = (), generation_config: Mapping[str, object] | None = None
) -> list[Variation]:
    """Every preset with every combination of the listed values, then the first of these changed by each variant.

    `given` is what holds for all of them; one of its `sets` may be a list, temperature=0.5,1. A variant is
    a text such as temperature=0.5,top_p=0.9. Raises `UsageError`.
    """
    lists = [_alternatives(value) for value in given.sets]
    count = max(1, len(presets)) * math.prod(map(len, lists)) + len(variants)
    if count > MOST:
        raise UsageError(f"these lists make {count} settings; at most {MOST} can be set against each other.")
    found = []
    for preset in presets or (None,):
        for sets in product(*lists):
            resolved = resolve(replace(given, preset=preset, sets=sets), generation_config)
            varied = dict(_assignment(value.value) for value, choices in zip(sets, lists, strict=True) if len(choices) > 1)
            found.append(Variation(_name(resolved, varied), resolved, varied))
    first = found[0]
    for value in variants:
        own = [Value(text, value.origin) for text in _split(value.value)]
        resolved = changed(first.preset, own, given.pipeline)
        varied = {**first.varied, **dict(_assignment(each.value) for each in own)}
        found.append(Variation(_name(resolved, varied), resolved, varied))
    return found


def pipeline_words(preset: Preset) -> str:
    """The stages in their order on one line: "temperature: 0.8 > top_p: 0.9"."""
    lines = (line.removeprefix("  - ") for line in preset.dumps().splitlines() if line.startswith("  - "))
    return " > ".join(lines) or MODEL_ALONE


def _name(preset: Preset, varied: Mapping[str, str]) -> str:
    words = [f"{key}={text}" for key, text in varied.items()]
    return " ".join([preset.name, *words] if preset.name else words) or pipeline_words(preset)


def _assignment(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key.strip(), value.strip()


def _alternatives(value: Value) -> list[Value]:
    """What a --set text stands for: temperature=0.5,1 is temperature=0.5 and temperature=1."""
    match = SET.fullmatch(value.value)
    stage = spellings().get(match["stage"].strip().replace("-", "_")) if match else None
    if match is None or stage is None:
        return [value]  # whoever resolves it tells what is wrong
    known = knobs(find("stages", stage))
    knob = next((each for each in known if each.name == (match["knob"] or known[0].name).strip()), None)
    if knob is None or knob.kind not in LISTED:
        return [value]
    head = value.value[: match.start("text")]
    return [Value(head + text, value.origin) for text in dict.fromkeys(each.strip() for each in match["text"].split(","))]


def _split(text: str) -> list[str]:
    """The assignments of a variant: commas part them where a new STAGE= follows, outside of brackets and quotes."""
    parts, depth, quoted, start = [], 0, False, 0
    for at, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif not quoted:
            depth += (character in "{[") - (character in "}]")
        if character == "," and not quoted and depth == 0 and _NEXT.match(text, at + 1):
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()]
