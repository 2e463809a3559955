"""llama.cpp's chain of samplers as stages: what llama.cpp and the programs on top of it share. Knows no command line and no file.

Names, order and defaults are those of llama.cpp's `common_params_sampling` (build 10470). There temperature
comes last, and `penalties` is one sampler for three of our stages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gencli.importers import Report, Wish

DEFAULT_ORDER = ("penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature")
LETTERS = {
    "e": "penalties",
    "d": "dry",
    "s": "top_n_sigma",
    "k": "top_k",
    "y": "typ_p",
    "p": "top_p",
    "m": "min_p",
    "x": "xtc",
    "t": "temperature",
    "i": "infill",
    "a": "adaptive_p",
}
ALSO_CALLED = {
    "top-k": "top_k",
    "top-p": "top_p",
    "top-n-sigma": "top_n_sigma",
    "nucleus": "top_p",
    "typical-p": "typ_p",
    "typical": "typ_p",
    "typ-p": "typ_p",
    "typ": "typ_p",
    "min-p": "min_p",
    "temp": "temperature",
    "adaptive-p": "adaptive_p",
}
DEFAULTS: dict[str, Any] = {
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.05,
    "temp": 0.8,
    "dynatemp_range": 0.0,
    "dynatemp_exponent": 1.0,
    "typ_p": 1.0,
    "top_n_sigma": -1.0,
    "xtc_probability": 0.0,
    "xtc_threshold": 0.1,
    "repeat_last_n": 64,
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "dry_multiplier": 0.0,
    "dry_base": 1.75,
    "dry_allowed_length": 2,
    "dry_penalty_last_n": 64,
    "dry_sequence_breakers": ("\n", ":", '"', "*"),
    "mirostat": 0,
    "mirostat_ent": 5.0,
    "mirostat_lr": 0.1,
    "adaptive_target": -1.0,
    "adaptive_decay": 0.9,
}


@dataclass(frozen=True)
class Given:
    """A parameter as the source gives it: `said` quotes it, `origin` tells where it stands."""

    value: Any
    said: str
    origin: str


class Parameters:
    """llama.cpp's parameters: what was given, over the defaults of the program that is asked."""

    def __init__(self, given: Mapping[str, Given], program: str, defaults: Mapping[str, Any] = DEFAULTS) -> None:
        self._given, self._program, self._defaults = given, program, defaults

    def __getitem__(self, name: str) -> Any:
        return self._given[name].value if name in self._given else self._defaults[name]

    def wish(self, stage: str, decides: str, **knobs: Any) -> Wish:
        """A stage whose first knob is the parameter `decides`, or the value `first` among the knobs."""
        knobs = {"" if name == "first" else name: value for name, value in knobs.items()}
        default = Given(self[decides], f"{self._program}'s default {decides} {self[decides]}", f"default of {self._program}")
        given = self._given.get(decides, default)
        return Wish(stage, {"": given.value} | knobs, given.said, given.origin)


def chain(parameters: Parameters, order: tuple[str, ...], report: Report) -> None:
    """Add the stages of the samplers in `order` to the report, those that change nothing left out."""
    for name in ("repeat_last_n", "dry_penalty_last_n"):
        if parameters[name] < 0:
            report.lost.append(f"{name} {parameters[name]} {_ALL}")
    if parameters["mirostat"]:
        report.wishes += _mirostat(parameters)  # takes the place of the whole chain
        return
    for sampler in order:
        report.wishes += _SAMPLERS[sampler](parameters) if sampler in _SAMPLERS else []
    if "infill" in order:
        report.lost.append("the sampler infill: gencli has no stage for filling in the middle, so it draws without it.")
    if "adaptive_p" in order:  # draws the token itself, so it stands last wherever it was named
        report.wishes += _adaptive_p(parameters)


_ALL = (
    "is carried over as what it is documented to mean, all tokens of the context; builds of llama.cpp up to July 2026 "
    "switched the penalties off instead, and later ones refuse it."
)


def _penalties(given: Parameters) -> list[Wish]:
    last = given["repeat_last_n"]
    if last == 0:
        return []
    window = max(0, last)  # below 0: the whole context, which is 0 here
    wishes = []
    for stage, name, neutral in _PENALTIES:
        if given[name] != neutral:
            wishes.append(given.wish(stage, name, last=window))
    return wishes


_PENALTIES = (
    ("repetition_penalty", "repeat_penalty", 1.0),
    ("presence_penalty", "presence_penalty", 0.0),
    ("frequency_penalty", "frequency_penalty", 0.0),
)


def _dry(given: Parameters) -> list[Wish]:
    last = given["dry_penalty_last_n"]
    if given["dry_multiplier"] == 0 or given["dry_base"] < 1 or last == 0:
        return []
    return [
        given.wish(
            "dry",
            "dry_multiplier",
            base=given["dry_base"],
            allowed_length=given["dry_allowed_length"],
            last=max(0, last),
            breakers=given["dry_sequence_breakers"],
        )
    ]


def _top_n_sigma(given: Parameters) -> list[Wish]:
    return [given.wish("top_n_sigma", "top_n_sigma")] if given["top_n_sigma"] > 0 else []


def _top_k(given: Parameters) -> list[Wish]:
    return [given.wish("top_k", "top_k")] if given["top_k"] > 0 else []


def _typical(given: Parameters) -> list[Wish]:
    return [given.wish("typical_p", "typ_p")] if given["typ_p"] < 1 else []


def _top_p(given: Parameters) -> list[Wish]:
    if given["top_p"] >= 1:
        return []
    if given["top_p"] <= 0:  # the likeliest token alone reaches the sum
        return [given.wish("top_k", "top_p", first=1)]
    return [given.wish("top_p", "top_p")]


def _min_p(given: Parameters) -> list[Wish]:
    if given["min_p"] <= 0:
        return []
    if given["min_p"] > 1:  # nothing reaches it, and the likeliest stays
        return [given.wish("top_k", "min_p", first=1)]
    return [given.wish("min_p", "min_p")]


def _xtc(given: Parameters) -> list[Wish]:
    if given["xtc_probability"] <= 0 or given["xtc_threshold"] > 0.5:
        return []
    return [given.wish("xtc", "xtc_probability", threshold=given["xtc_threshold"])]


def _temperature(given: Parameters) -> list[Wish]:
    if given["dynatemp_range"] > 0:
        knobs = {"temperature": given["temp"], "exponent": given["dynatemp_exponent"]}
        return [given.wish("dynamic_temperature", "dynatemp_range", **knobs)]
    return _plain_temperature(given)


def _plain_temperature(given: Parameters) -> list[Wish]:
    return [] if given["temp"] == 1 else [given.wish("temperature", "temp", first=max(0.0, given["temp"]))]


def _mirostat(given: Parameters) -> list[Wish]:
    knobs = {"first": given["mirostat_ent"], "learning_rate": given["mirostat_lr"], "version": given["mirostat"]}
    return [*_plain_temperature(given), given.wish("mirostat", "mirostat", **knobs)]


def _adaptive_p(given: Parameters) -> list[Wish]:
    if given["adaptive_target"] < 0:
        return []
    decay = min(max(given["adaptive_decay"], 0.0), 0.99)  # as llama.cpp keeps it in range
    return [given.wish("adaptive_p", "adaptive_target", first=min(given["adaptive_target"], 1.0), decay=decay)]


_SAMPLERS: dict[str, Callable[[Parameters], list[Wish]]] = {
    "penalties": _penalties,
    "dry": _dry,
    "top_n_sigma": _top_n_sigma,
    "top_k": _top_k,
    "typ_p": _typical,
    "top_p": _top_p,
    "min_p": _min_p,
    "xtc": _xtc,
    "temperature": _temperature,
}
