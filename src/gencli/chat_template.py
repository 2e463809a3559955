"""A checkpoint's chat template: messages -> a prompt in pieces, so that nothing typed becomes special. Knows no tokens.

The template's own text may hold special tokens; the messages never. To tell the two apart, a template is
rendered three times: plain, with a stand-in for every character of the messages, and with marks around
each message, for templates that look into what they are given. The last two count only where they give
the same text as the first.
"""

from __future__ import annotations

import json
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gencli import chat_rendering
from gencli.errors import RunError, UsageError, shown
from gencli.formats import Checkpoint, read_json, size_of, unreadable
from gencli.prompting import Prompt

Message = Mapping[str, str]
Piece = tuple[str, bool]

LARGEST = 1 << 20  # bytes of a template; published ones have some ten thousand
LONGEST = 1 << 22  # characters of all messages together: a million tokens
# seconds, where a process cannot bound its own computing; where it can, a machine may be as busy, or asleep, as it likes
PATIENCE = None if hasattr(signal, "setitimer") else 10.0
NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_STAND_INS = range(0xF0000, 0xFFFFE)  # private use: no font, keyboard or text of the world has them


@dataclass(frozen=True)
class ChatPrompt:
    """A conversation as a prompt, and what the template writes between the answer and the next message ("": it will not say)."""

    prompt: Prompt
    after_answer: str


@dataclass(frozen=True)
class ChatTemplate:
    """A template (jinja2) with the special tokens' texts it may name; `where` says which file it stands in."""

    text: str
    where: str
    variables: Mapping[str, Any] = field(default_factory=dict)

    def render(self, messages: Sequence[Message], special: bool = False) -> ChatPrompt:
        """The conversation, and the beginning of the answer. `special`: special-token text in the messages is special too.

        A message is {"role": "system" | "user" | "assistant", "content": text}. Raises `RunError` with the
        template's line where it fails or refuses, takes too much time or memory, or cuts messages so that
        what was typed cannot be told from what the template wrote.
        """
        stand_ins, marks = _StandIns.of(messages), _Marks.of(messages)
        (plain, standing, marked), after = self._texts(messages, stand_ins.hide(messages), marks.hide(messages))
        if special:
            return ChatPrompt(Prompt.of(plain, special=True), after)
        for pieces in (stand_ins.pieces(standing), marks.pieces(marked)):
            if "".join(text for text, _ in pieces) == plain:
                return ChatPrompt(Prompt(tuple(piece for piece in pieces if piece[0])), after)
        raise RunError(
            f"The chat template in {self.where} takes the messages apart, so that what was typed cannot be told from what "
            "the template wrote; --special lets all of it be special tokens."
        )

    def _texts(self, *conversations: Sequence[Message]) -> tuple[list[str], str]:
        """Each conversation as the template writes it, all at the same moment, and what comes behind an answer."""
        if (length := sum(len(message["content"]) for message in conversations[0])) > LONGEST:
            raise UsageError(f"the messages have {length:,} characters; a conversation has at most {LONGEST:,}.")
        mark = _random()
        continued = [*conversations[0], {"role": "assistant", "content": mark}, {"role": "user", "content": mark}]
        answer = _in_a_process({
            "path": sys.path,
            "template": self.text,
            "variables": dict(self.variables),
            "now": time.time(),
            "most": (len(self.text) + 4 * length + LARGEST) * (len(conversations) + 1),
            "conversations": [[[dict(message) for message in each], True] for each in conversations],
            "perhaps": [[dict(message) for message in continued], False],
        })  # fmt: skip
        if "error" in answer:
            line = f", line {answer['line']}" if answer.get("line") else ""
            raise RunError(f"The chat template in {self.where}{line}: {_sentence(answer['error'])}")
        *texts, behind = answer["texts"]
        parts = (behind or "").split(mark)
        return texts, parts[1] if len(parts) == 3 else ""


def _in_a_process(task: dict[str, Any]) -> dict[str, Any]:
    """What `chat_rendering` answers, or the error that it did not live to tell."""
    command = [sys.executable, "-I", chat_rendering.__file__]
    try:
        done = subprocess.run(command, input=json.dumps(task).encode(), capture_output=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"it has not ended after {PATIENCE:g} seconds"}
    except OSError as error:
        return {"error": f"no process could be started for it ({error.strerror})"}
    if done.returncode == 0:
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer
    if done.returncode < 0:
        return {"error": f"it has not ended after {chat_rendering.SECONDS:g} second of computing"}
    return {"error": done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2] or "its process failed"}


@dataclass(frozen=True)
class _StandIns:
    """A stand-in for every character of the messages but white space, which templates trim."""

    of_character: Mapping[int, int]

    @classmethod
    def of(cls, messages: Sequence[Message]) -> _StandIns:
        content = {character for message in messages for character in message["content"]}
        free = [place for place in _STAND_INS if chr(place) not in content]
        first = secrets.randbelow(len(free))
        hidden = sorted(character for character in content if not character.isspace())
        return cls({ord(character): free[(first + at) % len(free)] for at, character in enumerate(hidden)})

    def hide(self, messages: Sequence[Message]) -> list[Message]:
        return [{**message, "content": message["content"].translate(self.of_character)} for message in messages]

    def pieces(self, text: str) -> list[Piece]:
        back = {stand_in: character for character, stand_in in self.of_character.items()}
        if not back:
            return [(text, True)]
        hidden = "".join(map(chr, sorted(back)))
        run = re.compile(rf"([{hidden}](?:[\s{hidden}]*[{hidden}])?)")  # white space between two of them is theirs
        return [(part.translate(back), at % 2 == 0) for at, part in enumerate(run.split(text))]


@dataclass(frozen=True)
class _Marks:
    """Two marks around each message, inside of the white space at its ends."""

    opening: str
    closing: str
    count: int

    @classmethod
    def of(cls, messages: Sequence[Message]) -> _Marks:
        return cls(_random(), _random(), sum(bool(message["content"].strip()) for message in messages))

    def hide(self, messages: Sequence[Message]) -> list[Message]:
        return [{**message, "content": self._marked(message["content"])} for message in messages]

    def _marked(self, content: str) -> str:
        core = content.strip()
        return content.replace(core, f"{self.opening}{core}{self.closing}", 1) if core else content

    def pieces(self, text: str) -> list[Piece]:
        """Nothing unless every message stands in the text as a whole."""
        parts = re.split(f"{self.opening}(.*?){self.closing}", text, flags=re.DOTALL)
        if len(parts) < 2 * self.count + 1 or any(mark in part for part in parts for mark in (self.opening, self.closing)):
            return []
        return [(part, at % 2 == 0) for at, part in enumerate(parts)]


def _random() -> str:
    return "".join(chr(secrets.choice(_STAND_INS)) for _ in range(4))


def chat_template_of(checkpoint: Checkpoint) -> ChatTemplate:
    """The template that a checkpoint brings along: chat_template.jinja, chat_template.json, tokenizer_config.json
    (a text, or several by name, of which "default" counts), or the metadata of a GGUF file.

    Raises `UsageError` where there is none, `RunError` where it is damaged.
    """
    for found in _templates(checkpoint):
        return found
    raise UsageError(
        f"the checkpoint {shown(checkpoint.name)} brings no chat template, so there is no telling how it was taught to talk; "
        "leave out --chat, or give the prompt its form with a preset's template."
    )


def _templates(checkpoint: Checkpoint) -> Iterator[ChatTemplate]:
    if (vocabulary := checkpoint.vocabulary) is not None:
        if vocabulary.chat_template:
            named = {"bos_token": vocabulary.bos, "eos_token": vocabulary.eos, "unk_token": vocabulary.unk}
            texts = {name: vocabulary.tokens[id] for name, id in named.items() if id is not None}
            yield _checked(vocabulary.chat_template, str(checkpoint.path), texts)
        return
    folder = checkpoint.tokenizer_files
    variables = _variables(folder)
    if (file := folder / "chat_template.jinja").exists():
        yield _checked(_read(file), str(file), variables)
    for name in ("chat_template.json", "tokenizer_config.json"):
        if (file := folder / name).exists() and (stated := read_json(file).get("chat_template")) is not None:
            yield _checked(_named(stated, file), str(file), variables)


def _checked(text: str, where: str, variables: Mapping[str, Any]) -> ChatTemplate:
    if len(text) > LARGEST:
        raise RunError(f"The chat template in {where} has {len(text):,} characters; no template has more than {LARGEST:,}.")
    return ChatTemplate(text, where, variables)


def _read(file: Path) -> str:
    if size_of(file) > 4 * LARGEST:
        raise RunError(f"{file} is larger than {LARGEST >> 18} MB, which no chat template is.")
    try:
        return file.read_bytes().decode("utf-8")
    except OSError as error:
        raise unreadable(file, error) from error
    except UnicodeDecodeError as error:
        raise RunError(f"{file} is damaged: it is not UTF-8 at byte {error.start}.") from error


def _named(stated: Any, file: Path) -> str:
    """The template of a setting that is a text, or a list of {"name", "template"}, or these as an object."""
    if isinstance(stated, str):
        return stated
    match stated:
        case [*entries] if all(isinstance(each, dict) for each in entries):
            by_name = {each.get("name"): each.get("template") for each in entries}
        case {**named}:
            by_name = named
        case _:
            by_name = {}
    if isinstance(text := by_name.get("default"), str):
        return text
    names = ", ".join(shown(name) for name in by_name) or "nothing"
    raise RunError(f"{file}: its chat_template names no 'default', only {names}.")


def _variables(folder: Path) -> dict[str, Any]:
    """The special tokens' texts by the names that templates use, from tokenizer_config.json and special_tokens_map.json."""
    found: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if not (file := folder / name).exists():
            continue
        stated = read_json(file)
        extra = stated.get("extra_special_tokens")
        tokens = {**(extra if isinstance(extra, dict) else {}), **{each: stated[each] for each in NAMES if each in stated}}
        for each, token in tokens.items():
            text = token.get("content") if isinstance(token, dict) else token
            if isinstance(text, str):
                found[each] = text
    return found


def _sentence(text: str) -> str:
    text = " ".join(str(text).split())[:300]
    return text if text.endswith((".", "!", "?")) else f"{text}."
