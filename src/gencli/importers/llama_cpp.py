"""A llama.cpp command line -> the stages that it asks for. Knows no preset file and runs nothing.

The words are taken apart as a POSIX shell would, but nothing in them is expanded or executed.
"""

from __future__ import annotations

import io
import re
import shlex
from dataclasses import dataclass, field
from typing import Any

from gencli.errors import UsageError
from gencli.importers import Report, Wish, checked_text, number, said
from gencli.importers._llama_chain import ALSO_CALLED, DEFAULT_ORDER, LETTERS, Given, Parameters, chain
from gencli.preset_reading import Value

PROGRAM = "llama.cpp"
LONGEST = 100_000  # characters of a command line
LARGEST_BIAS = 10_000.0
ALWAYS = 2_147_483_647  # tokens that a text may not end before: never

# flag -> parameter; the spellings that llama.cpp itself takes
_INTEGERS = {
    "--top-k": "top_k",
    "--repeat-last-n": "repeat_last_n",
    "--dry-allowed-length": "dry_allowed_length",
    "--dry-penalty-last-n": "dry_penalty_last_n",
    "--mirostat": "mirostat",
}
_FLOATS = {
    "--temp": "temp",
    "--temperature": "temp",
    "--top-p": "top_p",
    "--min-p": "min_p",
    "--top-nsigma": "top_n_sigma",
    "--top-n-sigma": "top_n_sigma",
    "--xtc-probability": "xtc_probability",
    "--xtc-threshold": "xtc_threshold",
    "--typical": "typ_p",
    "--typical-p": "typ_p",
    "--repeat-penalty": "repeat_penalty",
    "--presence-penalty": "presence_penalty",
    "--frequency-penalty": "frequency_penalty",
    "--dry-multiplier": "dry_multiplier",
    "--dry-base": "dry_base",
    "--adaptive-target": "adaptive_target",
    "--adaptive-decay": "adaptive_decay",
    "--dynatemp-range": "dynatemp_range",
    "--dynatemp-exp": "dynatemp_exponent",
    "--mirostat-ent": "mirostat_ent",
    "--mirostat-lr": "mirostat_lr",
    "--cfg-scale": "cfg_scale",  # in builds up to autumn 2024, as what belongs to it
}
_GRAMMAR = "gencli has no grammars, so any token may come."
_WEIGHTS = "it changes the model's weights, which no preset does."
_PROMPT = "it becomes part of the prompt; write it into a template of the preset, or into the prompt."
# flags that change the text and that no preset can say: why; each takes a value unless it stands in _SWITCHES
_LOST = {
    **dict.fromkeys(("--grammar", "--grammar-file", "-j", "--json-schema", "-jf", "--json-schema-file"), _GRAMMAR),
    **dict.fromkeys(("--lora", "--lora-scaled", "--control-vector", "--control-vector-scaled"), _WEIGHTS),
    **dict.fromkeys(("-sys", "--system-prompt", "-sysf", "--system-prompt-file", "--in-prefix", "--in-suffix"), _PROMPT),
    "--cfg-negative-prompt-file": "no file is read here; write its text as the knob negative of guidance.",
    **dict.fromkeys(("--chat-template", "--chat-template-file"), "a preset's template is a plain text with {} for the prompt."),
    **dict.fromkeys(("--reasoning-budget", "--reasoning-budget-message"), "gencli has no budget for reasoning."),
}
_SWITCHES = {"--ignore-eos", "-e", "--escape", "--no-escape"}
_ENDS_OF_COMMAND = {"|", "||", "&&", "&", ";", ">", ">>", "<", "2>", "2>&1", "&>"}
_BIAS = re.compile(r"(?P<token>[0-9]{1,18})(?P<bias>[-+].+)")


@dataclass
class _Reading:
    """What the flags said so far."""

    where: str
    several_lines: bool
    given: dict[str, Given] = field(default_factory=dict)
    order: tuple[str, ...] = DEFAULT_ORDER
    bias: list[tuple[int, float]] = field(default_factory=list)
    stop: list[str] = field(default_factory=list)
    breakers: list[str] = field(default_factory=list)
    negative: str = ""
    escape: bool = True
    ignore_end: str = ""
    report: Report = field(default_factory=Report)
    origins: dict[str, str] = field(default_factory=dict)


class LlamaCpp:
    """`llama-cli ... --top-k 40 --samplers "top_k;top_p;temperature"`, as typed into a shell."""

    name = PROGRAM

    def recognises(self, text: str) -> bool:
        start = text.lstrip("\ufeff \t\r\n")[:1]
        return start not in ("{", "#") and re.search(r"(?m)(^|\s)(--?[a-z][-a-z]*|\S*llama-\w+\S*)(\s|=|$)", text) is not None

    def read(self, text: str, where: str) -> Report:
        words = _words(checked_text(text, where), where)
        reading = _Reading(where, several_lines=words[-1][1] > 1)
        at = 0
        while at < len(words) and not words[at][0].startswith("-"):  # the program, and variables before it
            at += 1
        while at < len(words) and words[at][0] not in _ENDS_OF_COMMAND:
            at = _flag(words, at, reading)
        return _reported(reading)


def _words(text: str, where: str) -> list[tuple[str, int]]:
    """The words of a command line, each with the line that it ends in."""
    if len(text) > LONGEST:
        raise UsageError(f"{where} holds more than {LONGEST:,} characters; that is no command line.")
    text = re.sub(r"(?m)^[ \t]*#.*$", "", text)
    text = re.sub(r"(?<!\\)\\\r?\n", "\n", text)  # a line that goes on; a space stands before it
    stream = io.StringIO(text)
    lexer = shlex.shlex(stream, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words = []
    try:
        for word in lexer:
            ended_by_newline = text[stream.tell() - 1 : stream.tell()] == "\n"
            words.append((word, lexer.lineno - ended_by_newline))
    except ValueError:
        raise UsageError(f"{where}, line {lexer.lineno}: a quotation mark is never closed, or a backslash ends the text.") from None
    if not words:
        raise UsageError(f"{where} is empty; a llama.cpp command line looks like: llama-cli --temp 0.7 --top-k 40.")
    return words


def _flag(words: list[tuple[str, int]], at: int, reading: _Reading) -> int:
    """Read the flag at a place and what belongs to it; answers where the next one stands."""
    flag, line = words[at]
    name, equals, inline = flag.partition("=") if flag.startswith("--") else (flag, "", "")
    if name.startswith("--"):
        name = name.replace("_", "-")  # as llama.cpp takes it
    follows = at + 1 < len(words) and not equals and _is_value(words[at + 1][0], name)
    value = inline if equals else words[at + 1][0] if follows else None
    origin = f"{PROGRAM} {said(name)[1:-1]}" + (f", line {line}" if reading.several_lines else "")
    try:
        _understand(name, value, origin, reading)
    except UsageError as error:
        raise UsageError(f"{reading.where}, line {line}: {error}") from None
    return at + (2 if follows else 1)


def _is_value(word: str, flag: str) -> bool:
    """Whether a word belongs to the flag before it; of an unknown flag, what looks like a flag does not."""
    if flag in _SWITCHES or word in _ENDS_OF_COMMAND:
        return False
    takes_one = flag in _INTEGERS or flag in _FLOATS or flag in _TEXTS or flag in _LOST
    return takes_one or not re.match(r"--?[a-zA-Z]", word)


def _understand(name: str, value: str | None, origin: str, reading: _Reading) -> None:
    parameter = _INTEGERS.get(name) or _FLOATS.get(name)
    if name == "--ignore-eos":
        reading.ignore_end = origin
    elif name in _SWITCHES:
        reading.escape = name != "--no-escape"
    elif parameter or name in _TEXTS or name in _LOST:
        if value is None:
            raise UsageError(f"{name} needs a value.")
        if parameter:
            _number(name, parameter, value, origin, reading)
        elif name in _TEXTS:
            _TEXTS[name](name, value, origin, reading)
        else:
            reading.report.lost.append(f"{name} {said(value)}: {_LOST[name]}")
    else:
        reading.report.aside.append(said(name)[1:-1])


def _number(name: str, parameter: str, value: str, origin: str, reading: _Reading) -> None:
    found = number(value, name, whole=name in _INTEGERS)
    if parameter == "mirostat" and found not in (0, 1, 2):
        raise UsageError(f"{name} must be 0, 1 or 2, not {said(value)}.")
    reading.given[parameter] = Given(found, f"{name} {value.strip()}", origin)


def _samplers(name: str, value: str, origin: str, reading: _Reading) -> None:
    names = [ALSO_CALLED.get(each, each) for each in value.split(";") if each]
    _order(name, names, tuple(LETTERS.values()), reading)


def _sequence(name: str, value: str, origin: str, reading: _Reading) -> None:
    _order(name, [LETTERS.get(letter, letter) for letter in value], tuple(LETTERS.values()), reading)


def _order(name: str, wanted: list[str], known: tuple[str, ...], reading: _Reading) -> None:
    for each in wanted:
        if each not in known:
            reading.report.lost.append(f"{name}: {said(each)} is no sampler of llama.cpp's, which leaves it out as well.")
    reading.order = tuple(each for each in wanted if each in known)


def _logit_bias(name: str, value: str, origin: str, reading: _Reading) -> None:
    match = _BIAS.fullmatch(value.strip())
    if match is None:
        raise UsageError(f"{name} must be TOKEN_ID+BIAS or TOKEN_ID-BIAS, such as 15043-1, not {said(value)}.")
    bias = -float("inf") if match["bias"] == "-inf" else float(number(match["bias"], name, whole=False))
    reading.bias.append((int(match["token"]), bias))
    reading.origins["logit_bias"] = origin


def _reverse_prompt(name: str, value: str, origin: str, reading: _Reading) -> None:
    reading.stop.append(value)
    reading.origins["stop"] = origin


def _breaker(name: str, value: str, origin: str, reading: _Reading) -> None:
    reading.breakers = [] if value == "none" else [*reading.breakers, value]
    reading.given["dry_sequence_breakers"] = Given((), name, origin)


def _n_predict(name: str, value: str, origin: str, reading: _Reading) -> None:
    count = int(number(value, name, whole=True))
    if count > 0:
        reading.report.settings["max_new_tokens"] = Value(count, origin)
    else:
        reason = "a run that writes nothing" if count == 0 else "no limit; give gencli generate a large --max-new-tokens"
        reading.report.lost.append(f"{name} {count}: a preset cannot ask for {reason}.")


def _seed(name: str, value: str, origin: str, reading: _Reading) -> None:
    reading.report.aside.append(f"{name} {said(value)[1:-1]} (a run's own; give it to gencli generate)")


_TEXTS: dict[str, Any] = {
    "-s": _seed,
    "--seed": _seed,
    "--samplers": _samplers,
    "--sampling-seq": _sequence,
    "--sampler-seq": _sequence,
    "--cfg-negative-prompt": lambda name, value, origin, reading: setattr(reading, "negative", value),
    "-l": _logit_bias,
    "--logit-bias": _logit_bias,
    "-r": _reverse_prompt,
    "--reverse-prompt": _reverse_prompt,
    "--dry-sequence-breaker": _breaker,
    "-n": _n_predict,
    "--predict": _n_predict,
    "--n-predict": _n_predict,
}


def _reported(reading: _Reading) -> Report:
    report, given = reading.report, reading.given
    if breakers := given.get("dry_sequence_breakers"):
        given["dry_sequence_breakers"] = Given(_texts(reading.breakers, reading), breakers.said, breakers.origin)
    if reading.stop:
        report.settings["stop"] = Value(_texts(reading.stop, reading), reading.origins["stop"])
    if reading.bias:
        report.wishes.append(_bias(reading))
    report.wishes += _guidance(reading)
    if reading.ignore_end:
        report.wishes.append(Wish("min_new_tokens", {"": ALWAYS}, "--ignore-eos", reading.ignore_end))
    chain(Parameters(given, PROGRAM), reading.order, report)
    return report


def _bias(reading: _Reading) -> Wish:
    """One stage for all of them; the biases of one token add up, as in llama.cpp."""
    summed: dict[int, float] = {}
    for token, bias in reading.bias:
        summed[token] = summed.get(token, 0.0) + bias
    first = ", ".join(f"{token}{bias:+g}" for token, bias in list(summed.items())[:4])
    return Wish("logit_bias", {"": tuple(summed.items())}, f"--logit-bias {first}", reading.origins["logit_bias"])


def _guidance(reading: _Reading) -> list[Wish]:
    """Behind the biases and before all samplers; llama.cpp knows none of at most 1."""
    scale = reading.given.get("cfg_scale")
    if scale is None or scale.value <= 1:
        return []
    if not reading.negative:
        reading.report.lost.append(f"{scale.said}: alone it sets the prompt against the start token in llama.cpp, its last in gencli.")
    negative = "".join(_texts([reading.negative], reading))
    return [Wish("guidance", {"": scale.value} | ({"negative": negative} if negative else {}), scale.said, scale.origin)]


def _texts(found: list[str], reading: _Reading) -> tuple[str, ...]:
    """Texts without the empty ones and with their escapes replaced, as llama.cpp does unless --no-escape forbids it."""
    return tuple(dict.fromkeys(_unescaped(each, reading) if reading.escape else each for each in found if each))


def _unescaped(text: str, reading: _Reading) -> str:
    r"""A text with \n, \r, \t, \', \", \\ and \xHH (a byte) replaced."""
    marks = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
    data = re.sub(
        rb"\\(x[0-9a-fA-F]{2}|[nrt'\"\\])",
        lambda match: bytes([int(match[1][1:], 16)]) if match[1][:1] == b"x" else marks.get(match[1], match[1]),
        text.encode(),
    )
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{reading.where}: {said(text)} escapes bytes that are not UTF-8 text.") from None
