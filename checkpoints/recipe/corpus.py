"""Text files -> documents by ability, cleaned, without doubles, some held out. Knows no tokens and no tensors."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from recipe import code
from recipe.blocked import blocked

HELD_OUT = Path(__file__).parent / "held_out.txt"
END, USER, ASSISTANT = "<|endoftext|>", "<|user|>", "<|assistant|>"
ABILITIES = ("prose", "stories", "chat", "functions", "modules")
ONE_IN = 16  # of the stories and chats, as their hashes fall, are held out
FRONT = re.compile(
    r"(?i)\W*(preface|introduction|introductory|contents|dedication|illustrations|list of|illustrated by|to the reader|to my readers"
    r"|to the friendly|lessons|transcriber|author's note|suggestions to teachers|articulation|'?twixt you and me|illustrated"
    r"|london|new york)\b.*"
)
DOUBLE = 120  # characters of a paragraph from which on it may stand only once
CURLY = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "—": "--", "–": "-", "…": "...", "\u00a0": " "})


@dataclass(frozen=True)
class Document:
    """One text of one ability; `held` is never trained on."""

    ability: str
    name: str
    text: str
    held: bool


@dataclass(frozen=True)
class Sources:
    """Where the text lies: folders of .txt and .jsonl, a file of stories between end tokens, a folder of Python modules.

    `held` lists the books (file names without .txt) and modules (paths) that are held out, one a line.
    """

    prose: Path
    stories: Path
    chat: Path
    code: Path
    held: Path = HELD_OUT


def documents(sources: Sources) -> list[Document]:
    """All documents in a fixed order, filtered; the same files give the same list on every machine."""
    held = frozenset(sources.held.read_text(encoding="utf-8").split())
    read = [*prose(sources.prose, held), *stories(sources.stories), *chats(sources.chat), *code.read(sources.code, held)]
    seen: set[bytes] = set()
    kept = []
    # what is held out goes first, so that no trained document repeats it
    for ability, name, text, out in sorted(read, key=lambda each: not each[3]):
        mark = _digest(text)
        if mark not in seen and text.strip() and (ability == "prose" or not blocked(text)):
            seen.add(mark)
            kept.append(Document(ability, name, text, out))
    return _single_paragraphs(kept)


def prose(folder: Path, held: Iterable[str]) -> Iterator[tuple[str, str, str, bool]]:
    """Books without front matter; a paragraph with a blocked word is dropped."""
    for path in sorted(folder.glob("*.txt")):
        text = path.read_text(encoding="utf-8").translate(CURLY).replace("\r\n", "\n")
        paragraphs = [each for each in without_front(re.split(r"\n\s*\n", text)) if not blocked(each)]
        yield "prose", path.stem, "\n\n".join(paragraphs).strip() + "\n", path.stem in held


def without_front(paragraphs: list[str]) -> list[str]:
    """A book's paragraphs without prefaces and tables of contents: what stands under such a heading in its first tenth."""
    room = sum(map(len, paragraphs)) // 10
    kept: list[str] = []
    passed, skipping = 0, False
    for paragraph in paragraphs:
        passed += len(paragraph)
        if passed < room or skipping:
            if FRONT.fullmatch(paragraph.strip().split("\n")[0]) and len(paragraph.split("\n")[0]) < 60:
                skipping = True
                continue
            if skipping and (passed < room) and not (heading(paragraph) and not listed(paragraph)):
                continue
            skipping = False
            if passed < room and listed(paragraph):
                continue
        kept.append(paragraph)
    return kept


def heading(paragraph: str) -> bool:
    """A short line alone that ends no sentence."""
    line = paragraph.strip()
    return "\n" not in line and 0 < len(line) < 60 and (line.isupper() or line[-1] not in ".,;:!?\"'")


def listed(paragraph: str) -> bool:
    """Lines as in a table of contents: many, short, numbered or ending no sentence."""
    lines = [each.strip() for each in paragraph.strip().split("\n")]
    bare = sum(1 for each in lines if len(each) < 60 and each[-1:] not in ".,;:!?\"'")
    return len(lines) >= 5 and bare / len(lines) > 0.8


def stories(path: Path) -> Iterator[tuple[str, str, str, bool]]:
    for text in path.read_text(encoding="utf-8").translate(CURLY).split(END):
        text = text.strip() + "\n"
        yield "stories", _digest(text).hex()[:12], text, _drawn_out(text)


def chats(folder: Path) -> Iterator[tuple[str, str, str, bool]]:
    """Conversations as the chat template writes them; whole first messages are held out with all their answers."""
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            messages = [(each["role"], each["content"].translate(CURLY).strip()) for each in json.loads(line)["messages"]]
            text = chat(messages)
            if messages and messages[0][0] == "user" and len(text) < 6000 and all(content for _, content in messages):
                first = "".join(content for _, content in messages[: 1 if len(messages) <= 2 else None])
                yield "chat", _digest(text).hex()[:12], text, _drawn_out(first)


def chat(messages: Iterable[tuple[str, str]]) -> str:
    """The turns of a conversation, each with its speaker's special token before it."""
    return "".join(f"{USER if role == 'user' else ASSISTANT}\n{content}\n" for role, content in messages)


def _single_paragraphs(kept: list[Document]) -> list[Document]:
    """Long paragraphs of prose stand once, in the first document that has them."""
    seen: set[bytes] = set()
    result = []
    for each in kept:
        text = each.text
        if each.ability == "prose":
            paragraphs = []
            for paragraph in text.split("\n\n"):
                mark = _digest(paragraph)
                if len(paragraph) < DOUBLE or mark not in seen:
                    paragraphs.append(paragraph)
                seen.add(mark)
            text = "\n\n".join(paragraphs)
        result.append(Document(each.ability, each.name, text, each.held))
    return result


def _digest(text: str) -> bytes:
    """What two texts share that differ in case, spaces and marks only."""
    return hashlib.sha256(re.sub(r"\W+", " ", text).strip().lower().encode()).digest()


def _drawn_out(text: str) -> bool:
    return int.from_bytes(_digest(text)[:4], "big") % ONE_IN == 0
