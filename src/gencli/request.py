"""What a command line asks of a run: a session, a prompt, a preset and options. Prints nothing.

Cheap things come first, so that a misspelt preset or an unreadable prompt is told before torch is loaded.
"""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from gencli.errors import UsageError
from gencli.options import origin_of, settings_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from gencli.chat_template import ChatPrompt
    from gencli.formats import Checkpoint
    from gencli.generation import Options
    from gencli.loading import Session
    from gencli.observation import Detail
    from gencli.preset import Preset
    from gencli.prompting import Prompt
    from gencli.variations import Variation

PATIENCE = 1.0  # seconds of loading or compiling that nobody needs to be told of
SMALL_CHECKPOINT = 1 << 25  # bytes: so small a step that a second thread, kept waiting by other work, slows it many times
MANY_ROWS = 64  # samples at once that make even such a step worth a second thread
CHAT = "the checkpoint's chat template"  # the origin of what it says of an answer's end
LONGEST_INPUT = 1 << 28  # bytes of stdin or a file; no context comes near
BYTES_A_TOKEN = 4  # of a prompt, about: no tokenizer is loaded yet


@dataclass(frozen=True)
class Request:
    """A run that was asked for and not yet loaded. `after_answer` is what a chat template writes behind an answer."""

    prompt: Prompt
    preset: Preset
    params: dict[str, Any]
    checkpoint_bytes: int
    after_answer: str = ""

    def load(self) -> Session:
        """The session; this is where torch comes in."""
        from gencli import compiled
        from gencli.loading import load
        from gencli.progress import Progress
        from gencli.terminal import Messages

        params = self.params
        small = self.checkpoint_bytes < SMALL_CHECKPOINT and params.get("samples", 1) < MANY_ROWS
        threads = params["threads"] or (1 if small else None)
        progress = Progress(Messages(params.get("quiet", False)), soonest=PATIENCE)
        try:
            session = load(
                params["checkpoint"],
                device=params["device"],
                precision=params["precision"],
                threads=threads,
                told=lambda share: progress.share("loading the checkpoint", share),
            )
        finally:
            progress.clear()
        if not compiled.ready(PATIENCE):
            progress("compiling the extra `fast` for this processor, once; this takes some seconds")
            compiled.ready()
            progress.clear()
        gc.freeze()  # what was imported stays: no later collection needs to walk it
        gc.enable()
        return session

    def ending(self, session: Session) -> Preset:
        """The preset, whose texts end where the chat template would end an answer too: at its special token, else at its words."""
        from gencli.preset import Value

        behind, settings = self.after_answer, dict(self.preset.settings)
        special = next(session.tokenizer.find_special(behind, 0, len(behind)), None)
        if special is not None and special[2] not in session.vocabulary.end_ids:
            settings["end_tokens"] = Value((*(self.preset.get("end_tokens") or ()), special[2]), CHAT)
        elif special is None and behind.strip():
            settings["stop"] = Value((*(self.preset.get("stop") or ()), behind.rstrip()), CHAT)
        return replace(self.preset, settings=tuple(settings.items()))

    def options(self, detail: Detail | None, interrupted: Callable[[], bool] = lambda: False) -> Options:
        """The run options; a command that lacks a flag keeps its default."""
        from gencli.generation import Options

        params = self.params
        return Options(
            seed=params.get("seed"),
            samples=params.get("samples", 1),
            first_sample=params.get("first_sample", 0),
            time_limit=params.get("time_limit"),
            stop_inclusive=params.get("stop_inclusive", False),
            ignore_end=params.get("ignore_end", False),
            gates=frozenset((*params.get("fail_on", ()), *params.get("stop_on", ()))),
            min_prob=params.get("min_prob"),
            max_entropy=params.get("max_entropy"),
            special=params["special"],
            cache=not params.get("no_cache", False),
            overflow=params.get("overflow", "error"),
            since=process_start(),
            detail=detail,
            interrupted=interrupted,
        )


def prompt_from(params: dict[str, Any]) -> Prompt:
    """The prompt that the shared prompt options describe; raises `UsageError` where there is none."""
    from gencli.prompting import read_prompt

    return read_prompt(
        params["prompt"],
        prompt_file=params["prompt_file"],
        stdin=sys.stdin.buffer if sys.stdin is not None else None,
        no_stdin=params["no_stdin"],
        keep_newline=params["keep_newline"],
        special=params["special"],
        limit_bytes=LONGEST_INPUT,
    )


def trace_from(argument: str) -> str | BinaryIO:
    """Where a command's TRACE argument is read from: a file's name, or for - stdin."""
    if argument != "-":
        return argument
    if sys.stdin is None:
        raise UsageError("TRACE is -, but stdin is closed.")
    return sys.stdin.buffer


def request_from(context: click.Context) -> Request:
    """Resolve the preset over the checkpoint's generation_config, then read the prompt."""
    from gencli.catalogue import find_checkpoint
    from gencli.formats import open_checkpoint
    from gencli.settings import resolve

    check_chat(context)
    checkpoint = open_checkpoint(find_checkpoint(context.params["checkpoint"]))
    preset = resolve(settings_from(context), checkpoint.generation_config)
    preset.stages()  # a value out of range is told before anything is loaded
    request = request_of(prompt_from(context.params), preset, context.params, checkpoint)
    _refuse_what_cannot_fit(checkpoint, preset, request.prompt, context.params, context.params.get("samples", 1))
    return request


def request_of(prompt: Prompt, preset: Preset, params: dict[str, Any], checkpoint: Checkpoint) -> Request:
    """A run whose prompt gets its form from the chat template, with --chat, else from the preset's template."""
    from gencli.prompting import apply_template

    if params.get("chat"):
        chat = chat_from(params, checkpoint, prompt.text)
        return Request(chat.prompt, preset, params, checkpoint.bytes, chat.after_answer)
    template = preset.get("template")
    return Request(apply_template(template, prompt) if template else prompt, preset, params, checkpoint.bytes)


def chat_from(params: dict[str, Any], checkpoint: Checkpoint, message: str) -> ChatPrompt:
    """A message, after what --system says, in the form of the checkpoint's chat template; raises what that raises."""
    from gencli.chat_template import chat_template_of

    messages = [("system", params["system"]), ("user", message)]
    given = [{"role": role, "content": text} for role, text in messages if text is not None]
    return chat_template_of(checkpoint).render(given, params["special"])


def check_chat(context: click.Context) -> None:
    """Raises `UsageError` for a --system that no --chat goes with; in the environment it waits for a chat."""
    if "system" in context.params and not context.params["chat"] and typed("system", context):
        raise UsageError("--system is the first message of a chat; give --chat too.")


def typed(name: str, context: click.Context) -> bool:
    """Whether a parameter stands on the command line."""
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def variations_from(context: click.Context, tokens: int, least: int = 1) -> tuple[Request, list[Variation]]:
    """Every setting that was asked for, of at most `tokens` tokens where its preset does not say, and what they share.

    The request holds the prompt as it was given, without a template, and the first setting's preset. Raises
    `UsageError` where there are fewer than `least`.
    """
    from gencli.catalogue import find_checkpoint
    from gencli.formats import open_checkpoint
    from gencli.preset import Value
    from gencli.variations import variations

    params = context.params
    checkpoint = open_checkpoint(find_checkpoint(params["checkpoint"]))
    variants = [Value(text, origin_of("variants", context)) for text in params["variants"]]
    found = variations(settings_from(context), params["presets"], variants, checkpoint.generation_config)
    if len(found) < least:
        raise UsageError(
            f"there is {len(found)} setting and {least} are needed; repeat --preset, give --variant temperature=0.5,top_p=0.9, "
            "or let --set take a list: --set temperature=0.5,1."
        )
    settings = [replace(each, preset=each.preset.with_default("max_new_tokens", tokens)) for each in found]
    for each in settings:
        each.preset.stages()  # a value out of range is told before anything is loaded
    prompt = prompt_from(params)
    for each in settings:
        _refuse_what_cannot_fit(checkpoint, each.preset, prompt, params, rows=1)  # batches are as large as memory allows
    return Request(prompt, settings[0].preset, params, checkpoint.bytes), settings


def _refuse_what_cannot_fit(checkpoint: Checkpoint, preset: Preset, prompt: Prompt, params: dict[str, Any], rows: int) -> None:
    """Raises `RunError` where weights and cache are more than this machine has free; a GPU is asked when torch is there."""
    from gencli.fitting import refuse_what_cannot_fit
    from gencli.stages import others_needed
    from gencli.stopping import DEFAULT_NEW_TOKENS

    if params["device"] in ("cpu", "mps"):  # they share one memory
        length = len(prompt.text) // BYTES_A_TOKEN + preset.get("max_new_tokens", DEFAULT_NEW_TOKENS)
        rows *= 1 + others_needed(preset.stages())
        refuse_what_cannot_fit(checkpoint, params["precision"], rows=rows, positions=0 if params.get("no_cache") else length)


def process_start() -> float:
    """When this process began, on time.monotonic's clock (10 ms fine on Linux; elsewhere: now)."""
    import os
    import time

    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        age = 0.0
    return time.monotonic() - max(0.0, age)
