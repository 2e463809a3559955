"""A SentencePiece vocabulary as plain values, whoever wrote it down, and what it does to a text before merging. Knows no file.

SentencePiece merges the two neighbours whose joined text has the highest score (BPE), or takes the likeliest
split of all (Unigram). A tokenizer.json lists pairs instead: each way to put a piece together from two
others, the highest scores first. Both give the same ids unless two pieces have the same score, which training never gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from gencli.tokenizers._added import AddedToken
from gencli.tokenizers._source import MAX_ID, Source, damaged, source_from

SPACE = "▁"  # U+2581, what stands for a space in a piece
MOST_CHARACTERS = 1 << 22  # of all pieces together; the largest published vocabulary has 2 million
LONGEST_PIECE = 512  # characters; trainers write up to 16, or some dozen


class Type(IntEnum):
    """What a piece is, by SentencePiece's own numbers, which GGUF files use too."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Pieces:
    """Pieces by id with their scores and types.

    `prefix`: a text gets a space before its first word. `squeeze`: several spaces count as one, and those
    at the ends as none. `normalise` rewrites characters before that. `start_ids` go before a text.
    Raises `RunError` at construction for what no vocabulary holds.
    """

    path: Path
    pieces: list[str]
    scores: list[float]
    types: list[int]
    unigram: bool = False
    unknown: int | None = None
    start_ids: tuple[int, ...] = ()
    prefix: bool = True
    squeeze: bool = False
    byte_fallback: bool = True
    normalise: Callable[[str], str] = field(default=str)

    def __post_init__(self) -> None:
        if not len(self.pieces) == len(self.scores) == len(self.types) or not 0 < len(self.pieces) <= MAX_ID:
            raise damaged(self.path, f"it has {len(self.pieces)} pieces, {len(self.scores)} scores and {len(self.types)} types")
        if sum(map(len, self.pieces)) > MOST_CHARACTERS:
            raise damaged(self.path, f"its pieces have more than {MOST_CHARACTERS:,} characters")
        named = [id for id in (self.unknown, *self.start_ids) if id is not None]
        if not all(0 <= id < len(self.pieces) for id in named):
            raise damaged(self.path, "a token that it names is outside its vocabulary")
        if len(self.ids) != len(self.pieces):
            raise damaged(self.path, "two of its pieces are the same")
        if not all(score == score for score in self.scores):
            raise damaged(self.path, "a score is not a number")

    @cached_property
    def ids(self) -> dict[str, int]:
        """Piece -> id."""
        return {piece: id for id, piece in enumerate(self.pieces)}

    @cached_property
    def added(self) -> tuple[AddedToken, ...]:
        """The pieces that are matched in the text itself, or only where the text may hold special tokens."""
        kinds = {Type.UNKNOWN: True, Type.CONTROL: True, Type.USER_DEFINED: False}
        listed = zip(self.pieces, self.types, strict=True)
        return tuple(AddedToken(id, piece, kinds[Type(type)]) for id, (piece, type) in enumerate(listed) if type in kinds and piece)

    def prepare(self, text: str, at_start: bool) -> str:
        """The text as its pieces spell it. What a person defined as one piece is not rewritten."""
        parts = self._defined.split(text) if self._defined else [text]
        rewritten, after_space = "", True
        for at, part in enumerate(parts):
            part = part if at % 2 else self.normalise(part)
            if self.squeeze:
                part = part if at % 2 else re.sub(" {2,}", " ", part)
                part = part.lstrip(" ") if after_space else part
                after_space = part.endswith(" ") if part else after_space
            rewritten += part
        if not rewritten:
            return ""
        rewritten = (" " + rewritten if self.prefix and at_start else rewritten).replace(" ", SPACE)
        return rewritten.rstrip(SPACE) if self.squeeze else rewritten

    @cached_property
    def _defined(self) -> re.Pattern[str] | None:
        defined = sorted((token.content for token in self.added if not token.special), key=len, reverse=True)
        return re.compile("(" + "|".join(map(re.escape, defined)) + ")") if defined else None

    def source(self) -> Source:
        """The same as a tokenizer.json, for pieces that merge by score."""
        byte_fallback = self.byte_fallback and Type.BYTE in self.types
        model: Mapping[str, Any] = {
            "type": "BPE", "unk_token": None if self.unknown is None else self.pieces[self.unknown], "fuse_unk": True,
            "byte_fallback": byte_fallback, "vocab": self.ids, "merges": self._merges(),
        }  # fmt: skip
        steps: list[dict[str, Any]] = [{"type": "Replace", "pattern": {"String": SPACE}, "content": " "}]
        steps += [{"type": "ByteFallback"}, {"type": "Fuse"}]
        steps += [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if self.prefix else []
        added = [{"id": token.id, "content": token.content, "special": token.special, **_PLAIN} for token in self.added]
        data = {"version": "1.0", "added_tokens": added, "model": model, "decoder": {"type": "Sequence", "decoders": steps}}
        return source_from(self.path, data, start_ids=self.start_ids, prepare=self.prepare)

    def _merges(self) -> list[tuple[str, str]]:
        """Every way to put a piece together from two others, by falling score of what they make."""
        merging = {id for id, type in enumerate(self.types) if type in (Type.NORMAL, Type.USER_DEFINED)}
        ids = {piece: id for piece, id in self.ids.items() if id in merging}
        merges: list[tuple[str, str]] = []
        for piece, _ in sorted(ids.items(), key=lambda entry: (-self.scores[entry[1]], entry[1])):
            if len(piece) > LONGEST_PIECE:
                raise damaged(self.path, f"it has a piece of {len(piece):,} characters")
            for at in range(1, len(piece)):
                if piece[:at] in ids and piece[at:] in ids:
                    merges.append((piece[:at], piece[at:]))
        return merges


_PLAIN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
