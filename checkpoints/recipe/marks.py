"""What a checkpoint writes through gencli's own presets: loops, variety, functions that parse, answers that end. Knows no training."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from gencli.gathering import Written, gathered
from gencli.generation import Options, run
from gencli.loading import Session, load
from gencli.preset import Preset
from gencli.progress import Progress
from gencli.prompting import Prompt, apply_template
from gencli.terminal import Messages
from gencli.variety import distinct, loops
from recipe.corpus import ASSISTANT, USER
from recipe.evaluation import held_texts

HERE = Path(__file__).parent
STORY = "Once upon a time"
STORY_TOKENS, CODE_TOKENS, ANSWER_TOKENS = 200, 200, 100
SPEAKING = re.compile(rf"{re.escape(USER)}|{re.escape(ASSISTANT)}|(?m:^\s*(?:user|you|human)\s*:)", re.IGNORECASE)


def measure(checkpoint: Path, data: Path, samples: int, threads: int, output: Path | None) -> dict[str, Any]:
    """The figures of `samples` samples of each kind (seeds 0, 1, ...), on stdout and, with all samples, as JSON where asked."""
    session = load(str(checkpoint), threads=threads)
    progress = Progress(Messages())
    stories = _written(session, "creative", [STORY] * samples, STORY_TOKENS, progress)
    signatures = [f"{line}\n" for line in _lines("signatures.txt")[:samples]]
    code = _written(session, "code", signatures, CODE_TOKENS, progress)
    chats = _written(session, "chat", _lines("messages.txt")[:samples], ANSWER_TOKENS, progress)
    progress.clear()
    functions = [complete(prompt + each.text, each.reason) for prompt, each in code]
    whole = [each for each in functions if each is not None]
    own, held = variety_beside([each.text for _, each in stories], held_texts(data, "stories"))
    figures = {
        "stories that loop": f"{sum(loops(each.ids) for _, each in stories)} of {len(stories)}",
        "distinct-2 of the stories' words": f"{own:.3f} (held-out stories, as many words: {held:.3f})",
        "complete functions": f"{len(whole)} of {len(functions)}",
        "complete functions that parse": f"{sum(map(parses, whole))} of {len(whole)}",
        "answers that end": f"{sum(each.reason == 'end_token' for _, each in chats)} of {len(chats)}",
        "answers that speak for the user": f"{sum(SPEAKING.search(each.text) is not None for _, each in chats)} of {len(chats)}",
    }
    for name, value in figures.items():
        click.echo(f"{name}: {value}")
    kinds = {"creative": stories, "code": code, "chat": chats}
    texts = {
        kind: [{"seed": seed, "prompt": prompt, "text": each.text, "reason": each.reason} for seed, (prompt, each) in enumerate(written)]
        for kind, written in kinds.items()
    }
    result = {"figures": figures, "texts": texts}
    if output:
        output.write_text(json.dumps(result, indent=1) + "\n")
    return result


def _written(session: Session, name: str, prompts: Sequence[str], most: int, progress: Progress) -> list[tuple[str, Written]]:
    preset = Preset.load(name).with_default("max_new_tokens", most)
    template = preset.get("template")
    result = []
    for seed, prompt in enumerate(prompts):
        given = apply_template(template, Prompt.of(prompt)) if template else prompt
        _, (sample,) = gathered(run(session, given, preset, Options(seed=seed)))
        result.append((prompt, sample))
        progress.share(name, seed + 1, len(prompts))
    return result


def complete(text: str, reason: str) -> str | None:
    """The function at the beginning of the text: to the next line that is not indented, or to the end if that was an end token."""
    lines = text.split("\n")
    for at, line in enumerate(lines[1:-1], start=1):  # the last line may go on
        if line.strip() and not line[0].isspace():
            return "\n".join(lines[:at]) + "\n"
    return text if reason == "end_token" else None


def parses(function: str) -> bool:
    """Whether Python's own parser takes it, as exactly one function."""
    try:
        body = ast.parse(function).body
    except (SyntaxError, ValueError):
        return False
    return len(body) == 1 and isinstance(body[0], ast.FunctionDef)


def variety_beside(texts: Sequence[str], held: Sequence[str]) -> tuple[float, float]:
    """distinct-2 of the pooled words, and that of held-out texts cut to the same numbers of words: it falls with length."""
    ids: dict[str, int] = {}

    def words(text: str) -> list[int]:
        return [ids.setdefault(word, len(ids)) for word in re.findall(r"[\w']+", text.lower())]

    own = [words(text) for text in texts]
    others = [words(text) for text in held][: len(own)]
    size = min(sum(map(len, own)), sum(map(len, others)))
    first, second = distinct(_first(own, size), 2), distinct(_first(others, size), 2)
    return (first.value if first else 0.0), (second.value if second else 0.0)


def _first(texts: Sequence[Sequence[int]], size: int) -> list[Sequence[int]]:
    """The texts, each cut by the same share, so that `size` words are left."""
    share = size / max(sum(map(len, texts)), 1)
    return [text[: round(len(text) * share)] for text in texts]


def _lines(name: str) -> list[str]:
    return (HERE / "prompts" / name).read_text(encoding="utf-8").splitlines()
