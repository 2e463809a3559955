"""A transformers generation_config.json -> the stages that it asks for. Knows no checkpoint and no transformers.

The order is that of `GenerationMixin._get_logits_processor` (transformers 5): penalties and bans first,
then, only where it samples, temperature and the cuts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from gencli.errors import UsageError
from gencli.importers import Report, Wish, checked_text, said
from gencli.preset_reading import Value

PROGRAM = "transformers"
DEFAULTS: dict[str, Any] = {"do_sample": False, "temperature": 1.0, "top_k": 50, "top_p": 1.0}  # where the file says nothing
DEEPEST = 30  # lists and objects within each other

# what a single number asks for: key -> stage, and the test by which transformers leaves it out
_NUMBERS: dict[str, tuple[str, Callable[[float], bool]]] = {
    "repetition_penalty": ("repetition_penalty", lambda value: value == 1),
    "no_repeat_ngram_size": ("no_repeat_ngram", lambda value: value <= 0),
    "min_new_tokens": ("min_new_tokens", lambda value: value <= 0),
    "temperature": ("temperature", lambda value: value == 1),
    "top_h": ("top_h", lambda value: False),
    "top_k": ("top_k", lambda value: value == 0),
    "top_p": ("top_p", lambda value: value >= 1),
    "min_p": ("min_p", lambda value: value == 0),
    "typical_p": ("typical_p", lambda value: value >= 1),
    "epsilon_cutoff": ("epsilon_cutoff", lambda value: not 0 < value < 1),
    "eta_cutoff": ("eta_cutoff", lambda value: not 0 < value < 1),
    "guidance_scale": ("guidance", lambda value: value == 1),
}
BEFORE_SAMPLING = (
    "guidance_scale",
    "sequence_bias",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "bad_words_ids",
    "min_new_tokens",
    "exponential_decay_length_penalty",
    "suppress_tokens",
)
SAMPLING = ("temperature", "top_h", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")

# what changes the text and no preset can say: key -> (the values that change nothing, why)
_LOST: dict[str, tuple[tuple[Any, ...], str]] = {
    "num_beams": ((1,), "gencli draws one token at a time; it has no beam search."),
    "num_beam_groups": ((1,), "gencli has no beam search."),
    "penalty_alpha": ((0,), "gencli has no contrastive search."),
    "dola_layers": ((), "gencli does not contrast layers."),
    "constraints": (([],), "gencli has no constraints."),
    "force_words_ids": (([],), "gencli cannot force words."),
    "watermarking_config": ((), "gencli puts no watermark into a text."),
    "token_healing": ((False,), "gencli takes the prompt's tokens as they are."),
    "encoder_repetition_penalty": ((1,), "it penalises what the prompt lacks, which gencli cannot."),
    "encoder_no_repeat_ngram_size": ((0,), "gencli's no_repeat_ngram counts prompt and output alike."),
    "forced_bos_token_id": ((), "gencli forces no first token; write it into the prompt."),
    "forced_eos_token_id": ((), "gencli forces no last token; a text ends at its limit as it is."),
    "begin_suppress_tokens": (([],), "it bans tokens at the first step only, which gencli cannot; logit_bias bans at every step."),
    "remove_invalid_values": ((False,), "gencli ends a run that meets NaN instead of mending it."),
    "min_length": ((0,), "it counts the prompt as well; write min_new_tokens instead."),
    "max_length": ((), "it counts the prompt as well; write max_new_tokens instead."),
    "max_time": ((), "a time belongs to a run; give gencli generate --time-limit."),
    "assistant_ensemble_weight": ((0,), "gencli does not mix two models."),
}


class Transformers:
    """`{"do_sample": true, "temperature": 0.7, "top_p": 0.9}`, the file that lies beside a checkpoint."""

    name = PROGRAM

    def recognises(self, text: str) -> bool:
        return text.lstrip("\ufeff \t\r\n").startswith("{")

    def read(self, text: str, where: str) -> Report:
        text = checked_text(text, where)
        config = _parsed(text, where)
        report = Report()

        def at(key: str) -> str:
            return f"{where}, line {_line_of(key, text)}: "

        def origin(key: str) -> str:
            return f"{PROGRAM} {key} ({where}, line {_line_of(key, text)})" if key in config else f"default of {PROGRAM}"

        given = {key: value for key, value in config.items() if value is not None}
        if not isinstance(given.get("do_sample", False), bool):
            raise UsageError(f"{at('do_sample')}do_sample must be true or false, not {said(given['do_sample'])}.")
        report.wishes = wishes({**DEFAULTS, **given}, origin, at, report.lost.append)
        _settings(given, origin, at, report)
        for key, (neutral, why) in _LOST.items():
            if key in given and given[key] not in neutral:
                report.lost.append(f"{key} {said(given[key])}: {why}")
        known = {*_NUMBERS, *BEFORE_SAMPLING, *_LOST, *DEFAULTS, "max_new_tokens", "stop_strings", "eos_token_id", "renormalize_logits"}
        report.aside = [said(key)[1:-1] for key in given if key not in known]
        if given.get("do_sample", DEFAULTS["do_sample"]) is False:
            idle = [key for key in SAMPLING if key in given]
            report.aside += [f"{key} (without do_sample the likeliest token is taken)" for key in idle]
        return report


def wishes(config: Mapping[str, Any], origin: Callable[[str], str], at: Callable[[str], str], lost: Callable[[str], object]) -> list[Wish]:
    """The stages that a generation config asks for, in transformers' order; an error begins with `at(key)`.

    Keys that are absent or None ask for nothing. Where `do_sample` is False the likeliest token is taken.
    """
    found: list[Wish] = []
    for key in (*BEFORE_SAMPLING, *(() if config.get("do_sample") is False else SAMPLING)):
        if config.get(key) is None:
            continue
        try:
            if key in _NUMBERS:
                found += _number(key, config[key], origin(key))
            else:
                found += _LISTS[key](key, config, origin(key), lost)
        except UsageError as error:
            raise UsageError(f"{at(key)}{error}") from None
    if config.get("do_sample") is False:
        found.append(Wish("temperature", {"": 0}, "do_sample false", origin("do_sample")))
    return found


def _number(key: str, value: Any, origin: str) -> list[Wish]:
    stage, off = _NUMBERS[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{key} must be a number, not {said(value)}.")
    if off(value):
        return []
    if key == "top_p" and value == 0:  # the likeliest token alone reaches the sum
        stage, value = "top_k", 1
    return [Wish(stage, {"": value}, f"{key} {value}", origin)]


def _ids(value: Any, key: str) -> list[int]:
    if not isinstance(value, list) or not all(type(each) is int and 0 <= each < 2**31 for each in value):
        raise UsageError(f"{key} must be a list of token ids, not {said(value)}.")
    return value


def _suppress_tokens(key: str, config: Mapping[str, Any], origin: str, lost: Callable[[str], object]) -> list[Wish]:
    entries = tuple((each, -float("inf")) for each in dict.fromkeys(_ids(config[key], key)))
    return [Wish("logit_bias", {"": entries}, key, origin)] if entries else []


def _bad_words(key: str, config: Mapping[str, Any], origin: str, lost: Callable[[str], object]) -> list[Wish]:
    words = config[key]
    if not isinstance(words, list):
        raise UsageError(f"{key} must be a list of lists of token ids, not {said(words)}.")
    sequences = [_ids(each, key) for each in words]
    ends = config.get("eos_token_id")
    spared = set(_ids(ends if isinstance(ends, list) else [ends], "eos_token_id")) if ends is not None else set()
    if several := sum(len(each) > 1 for each in sequences):
        lost(
            f"{key}: {several} of its words are several tokens long; transformers bans the last token of such a word where the others "
            "stand, gencli bans its text, however it is cut into tokens, and goes back to where it began."
        )
    banned: dict[int | tuple[int, ...], None] = {}
    for each in sequences:
        if len(each) > 1:
            banned[tuple(each)] = None
        elif each and each[0] not in spared:
            banned[each[0]] = None
    return [Wish("banned_words", {"": tuple(banned)}, key, origin)] if banned else []


def _sequence_bias(key: str, config: Mapping[str, Any], origin: str, lost: Callable[[str], object]) -> list[Wish]:
    pairs = config[key]
    if not isinstance(pairs, list) or not all(isinstance(each, list) and len(each) == 2 for each in pairs):
        raise UsageError(f"{key} must be a list of pairs, token ids and a bias, not {said(pairs)}.")
    biases: dict[int, float] = {}
    several = 0
    for ids, bias in pairs:
        if isinstance(bias, bool) or not isinstance(bias, int | float):
            raise UsageError(f"{key}: a bias must be a number, not {said(bias)}.")
        if len(_ids(ids, key)) == 1:
            biases[ids[0]] = float(bias)
        else:
            several += 1
    if several:
        lost(f"{key}: {several} of its sequences are not one token long; gencli biases single tokens.")
    return [Wish("logit_bias", {"": tuple(biases.items())}, key, origin)] if biases else []


def _length_decay(key: str, config: Mapping[str, Any], origin: str, lost: Callable[[str], object]) -> list[Wish]:
    value = config[key]
    if not isinstance(value, list) or len(value) != 2 or any(isinstance(each, bool) or not isinstance(each, int | float) for each in value):
        raise UsageError(f"{key} must be a pair, where it starts and its factor, not {said(value)}.")
    return [Wish("length_decay", {"": value[1], "start": value[0]}, f"{key} {said(value)}", origin)]


_LISTS: dict[str, Callable[[str, Mapping[str, Any], str, Callable[[str], object]], list[Wish]]] = {
    "sequence_bias": _sequence_bias,
    "bad_words_ids": _bad_words,
    "exponential_decay_length_penalty": _length_decay,
    "suppress_tokens": _suppress_tokens,
}


def _settings(given: Mapping[str, Any], origin: Callable[[str], str], at: Callable[[str], str], report: Report) -> None:
    """Limits, stop strings and end tokens: what a preset says beside its pipeline."""
    if (count := given.get("max_new_tokens")) is not None:
        if type(count) is not int or count < 1:
            raise UsageError(f"{at('max_new_tokens')}max_new_tokens must be a whole number at least 1, not {said(count)}.")
        report.settings["max_new_tokens"] = Value(count, origin("max_new_tokens"))
    if (stop := given.get("stop_strings")) is not None:
        texts = [stop] if isinstance(stop, str) else stop
        if not isinstance(texts, list) or not all(isinstance(each, str) and _whole(each) for each in texts):
            raise UsageError(f"{at('stop_strings')}stop_strings must be texts that are not empty, not {said(stop)}.")
        report.settings["stop"] = Value(tuple(dict.fromkeys(texts)), origin("stop_strings"))
    if (ends := given.get("eos_token_id")) is not None:
        try:
            ids = _ids(ends if isinstance(ends, list) else [ends], "eos_token_id")
        except UsageError as error:
            raise UsageError(f"{at('eos_token_id')}{error}") from None
        report.settings["end_tokens"] = Value(tuple(dict.fromkeys(ids)), origin("eos_token_id"))


def _whole(text: str) -> bool:
    """Whether there is a text and no half of a surrogate pair in it."""
    return bool(text) and not any("\ud800" <= each <= "\udfff" for each in text)


def _parsed(text: str, where: str) -> dict[str, Any]:
    """The JSON object of a text, as strictly as JSON is meant; raises `UsageError` with the line."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            key = next(key for at, (key, _) in enumerate(pairs) if key in dict(pairs[:at]))
            raise UsageError(f"{where}, line {_line_of(key, text)}: the key {said(key)} stands twice.")
        return found

    def no_number(name: str) -> Any:
        raise UsageError(f"{where}: {name} is no number of JSON.")

    if _depth(text) > DEEPEST:
        raise UsageError(f"{where}: lists and objects stand more than {DEEPEST} deep within each other; that is no generation config.")
    try:
        config = json.loads(text, object_pairs_hook=unique, parse_constant=no_number)
    except UsageError:
        raise
    except json.JSONDecodeError as error:
        raise UsageError(f"{where}, line {error.lineno}: this is not JSON: {error.msg}.") from None
    except ValueError:  # a number of thousands of digits
        raise UsageError(f"{where}: it holds a number that is too long.") from None
    if not isinstance(config, dict):
        raise UsageError(f"{where}: a generation config is an object of settings, not {said(config)}.")
    return config


def _depth(text: str) -> int:
    """How deep brackets stand within each other, those inside of texts counted as well."""
    deepest = depth = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _line_of(key: str, text: str) -> int:
    found = re.search(rf"{re.escape(json.dumps(key))}\s*:", text)
    return text.count("\n", 0, found.start()) + 1 if found else 1
