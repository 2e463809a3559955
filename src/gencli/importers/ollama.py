"""An ollama Modelfile -> the stages that it asks for. Knows no model and no template engine.

Ollama hands its parameters to llama.cpp's server, so that the order is llama.cpp's: temperature last.
Its defaults differ: top_p 0.9 and no min_p (ollama from August 2026; before, repeat_penalty was 1.1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gencli.errors import UsageError, unknown
from gencli.importers import Report, checked_text, number, said
from gencli.importers._go_template import template_of
from gencli.importers._llama_chain import DEFAULT_ORDER, DEFAULTS, Given, Parameters, chain
from gencli.preset_reading import Value

PROGRAM = "ollama"
OWN_DEFAULTS = {**DEFAULTS, "top_p": 0.9, "min_p": 0.0}
INSTRUCTIONS = ("from", "parameter", "template", "system", "adapter", "license", "message", "draft", "renderer", "parser", "requires")

# PARAMETER -> llama.cpp's parameter
_INTEGERS = {"top_k": "top_k", "repeat_last_n": "repeat_last_n"}
_FLOATS = {
    "temperature": "temp",
    "top_p": "top_p",
    "min_p": "min_p",
    "typical_p": "typ_p",
    "repeat_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
_IGNORED = ("mirostat", "mirostat_tau", "mirostat_eta", "tfs_z", "penalize_newline")  # by ollama itself
_MACHINE = (
    "num_ctx",
    "num_keep",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "num_thread",
    "num_gqa",
    "use_mmap",
    "use_mlock",
    "numa",
    "low_vram",
    "f16_kv",
    "logits_all",
    "vocab_only",
    "draft_num_predict",
    "rope_frequency_base",
    "rope_frequency_scale",
)
_PARAMETERS = (*_INTEGERS, *_FLOATS, "stop", "num_predict", "seed", *_IGNORED, *_MACHINE)


@dataclass(frozen=True)
class _Instruction:
    """One instruction of a Modelfile: its name in small letters, the parameter or role it is about, its value, its line."""

    name: str
    head: str
    value: str
    line: int


class Ollama:
    """`FROM llama3.2`, `PARAMETER temperature 0.7`, `PARAMETER stop "User:"`, `SYSTEM ...`."""

    name = PROGRAM

    def recognises(self, text: str) -> bool:
        return re.search(r"(?im)^[ \t\ufeff]*(from[ \t]+\S|parameter[ \t]+\w+[ \t]+\S)", text) is not None

    def read(self, text: str, where: str) -> Report:
        report, given = Report(), dict[str, Given]()
        template = system = None
        for each in _instructions(checked_text(text, where), where):
            try:
                if each.name == "parameter":
                    _parameter(each, f"{PROGRAM} {each.head} ({where}, line {each.line})", given, report)
                elif each.name == "template":
                    template = each
                elif each.name == "system":
                    system = each
                else:
                    _other(each, report)
            except UsageError as error:
                raise UsageError(f"{where}, line {each.line}: {error}") from None
        _template(template, system, where, report)
        chain(Parameters(given, PROGRAM, OWN_DEFAULTS), DEFAULT_ORDER, report)
        return report


def _instructions(text: str, where: str) -> list[_Instruction]:
    """The instructions of a Modelfile; a value goes on over lines until its quotation marks close."""
    lines = re.split(r"\r\n|\r|\n", text)
    found: list[_Instruction] = []
    at = 0
    while at < len(lines):
        line, at = lines[at], at + 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        start = at
        match = re.match(r"\s*([A-Za-z]+)(?:[ \t]+(.*))?$", line)
        if match is None or match[1].lower() not in INSTRUCTIONS:
            raise unknown("instruction", said(line.split()[0])[1:-1], map(str.upper, INSTRUCTIONS), f"{where}, line {start}")
        name, head, value = _parted(match[1].lower(), (match[2] or "").strip())
        parts = [value]
        while not _closed(parts) and at < len(lines):
            parts.append(lines[at])
            at += 1
        if not _closed(parts):
            raise UsageError(f"{where}, line {start}: the quotation mark that opens here is never closed.")
        found.append(_Instruction(name, head, _unquoted("\n".join(parts)), start))
    if not found:
        raise UsageError(f"{where} is empty; a Modelfile holds lines such as PARAMETER temperature 0.7.")
    return found


def _parted(name: str, rest: str) -> tuple[str, str, str]:
    """An instruction's name, its head (the name of a parameter, the role of a message) and what follows."""
    if name not in ("parameter", "message"):
        return name, "", rest
    head, _, value = rest.partition(" ") if " " in rest else rest.partition("\t")
    return name, head, value.strip()


def _quote(value: str) -> str:
    """The quotation mark that a value opens with."""
    return next((mark for mark in ('"""', '"') if value.startswith(mark)), "")


def _closed(parts: list[str]) -> bool:
    """Whether a value, of which these are the lines, is whole."""
    mark, last = _quote(parts[0]), parts[-1].rstrip()
    return not mark or (last.endswith(mark) and (len(parts) > 1 or len(last) >= 2 * len(mark)))


def _unquoted(value: str) -> str:
    """The value without the quotation marks around it."""
    value = value.strip()
    mark = _quote(value)
    return value[len(mark) : len(value) - len(mark)]


def _parameter(instruction: _Instruction, origin: str, given: dict[str, Given], report: Report) -> None:
    name, value = instruction.head.lower(), instruction.value
    if not name or not value:
        raise UsageError(f"PARAMETER needs a name and a value, such as PARAMETER temperature 0.7, not {said(name or value)}.")
    if name not in _PARAMETERS:
        raise unknown("parameter", said(name)[1:-1], _PARAMETERS)
    if name in _INTEGERS or name in _FLOATS:
        found = number(value, name, whole=name in _INTEGERS)
        given[_INTEGERS.get(name) or _FLOATS[name]] = Given(found, f"PARAMETER {name} {value.strip()}", origin)
    elif name == "stop":
        stops = report.settings["stop"].value if "stop" in report.settings else ()
        report.settings["stop"] = Value(tuple(dict.fromkeys((*stops, value))), origin)
    elif name == "num_predict":
        _num_predict(int(number(value, name, whole=True)), origin, report)
    elif name == "seed":
        report.aside.append(f"seed {said(value)[1:-1]} (a run's own; give it to gencli generate)")
    elif name in _IGNORED:
        report.aside.append(f"{name} (ollama itself leaves it out)")
    else:
        report.aside.append(name)


def _num_predict(count: int, origin: str, report: Report) -> None:
    if count > 0:
        report.settings["max_new_tokens"] = Value(count, origin)
    else:
        reason = "a run that writes nothing" if count == 0 else "no limit; give gencli generate a large --max-new-tokens"
        report.lost.append(f"PARAMETER num_predict {count}: a preset cannot ask for {reason}.")


def _other(instruction: _Instruction, report: Report) -> None:
    if instruction.name == "from":
        report.aside.append(f"FROM {said(instruction.value)[1:-1]} (the model; gencli's is --checkpoint)")
    elif instruction.name == "adapter":
        report.lost.append(f"ADAPTER {said(instruction.value)[1:-1]}: it changes the model's weights, which no preset does.")
    elif instruction.name == "message":
        report.lost.append(
            f"MESSAGE {said(f'{instruction.head} {instruction.value}')}: a preset holds no conversation; write it into the prompt."
        )
    else:
        report.aside.append(instruction.name.upper())


def _template(template: _Instruction | None, system: _Instruction | None, where: str, report: Report) -> None:
    """The prompt's frame, as far as it is a plain text with the prompt in it."""
    if template is None:
        if system is not None:
            why = "without a TEMPLATE the model's own frames it, and gencli has none; write it into the prompt"
            report.lost.append(f"SYSTEM {said(system.value)}: {why}.")
        return
    text = template_of(template.value, system.value if system else "")
    if isinstance(text, UsageError):
        report.lost.append(f"TEMPLATE in line {template.line}: {text} Prompts go in as they are.")
        if system is not None:
            report.lost.append(f"SYSTEM {said(system.value)}: it stands in the TEMPLATE, which was not carried over.")
        return
    report.settings["template"] = Value(text, f"{PROGRAM} TEMPLATE ({where}, line {template.line})")
