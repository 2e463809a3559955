"""Text <-> token ids: what every tokenizer can do, and which kind a checkpoint needs. Knows no model.

A kind is a class in a file here, built from a tokenizer.json or what other files hold (`_reading.py`); the exact kinds
say `Inexact` to what they would not reproduce to the letter, and the one with the highest `place` takes the rest.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from gencli.detokeniser import Detokeniser, decode
from gencli.formats import Checkpoint, GGUFVocabulary
from gencli.registry import find, names
from gencli.tokenizers._reading import read
from gencli.tokenizers._source import Inexact, Source

__all__ = [
    "Detokeniser",
    "Inexact",
    "Source",
    "Tokenizer",
    "decode",
    "encode_pieces",
    "encode_prompt",
    "load_tokenizer",
    "read",
    "tokenizer_of",
]


class Tokenizer(Protocol):
    """What the rest of the program may ask of a tokenizer.

    `size`: ids are 0 .. size - 1. `special`: special token text -> id. `start_ids`: exactly the ids that
    the tokenizer's own files put before a text. `strips_start`: one space at the very start of a text is
    the tokenizer's, not the text's. `token_bytes`: the own bytes of every id (a special token's text, b""
    for an id that no token has).
    """

    @property
    def size(self) -> int: ...
    @property
    def special(self) -> Mapping[str, int]: ...
    @property
    def start_ids(self) -> tuple[int, ...]: ...
    @property
    def strips_start(self) -> bool: ...
    @property
    def token_bytes(self) -> Sequence[bytes]: ...

    def encode(self, text: str, *, at_start: bool = True) -> list[int]:
        """The ids of ordinary text: special-token text stays text, no start tokens. `at_start`: no text
        and no special token stands before it. Raises `RunError` where the tokenizer's library fails."""

    def find_special(self, text: str, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """(from, to, id) of each special token between `start` and `end`, with the white space it swallows."""


def encode_pieces(tokenizer: Tokenizer, pieces: Iterable[tuple[str, bool]]) -> list[int]:
    """The ids of a text in pieces (text, may hold special tokens), without start tokens.

    Only pieces that may hold special tokens are searched for them; ordinary text is encoded in runs that
    go across pieces, so its tokens do not depend on where one piece ends.
    """
    text = ""
    searched: list[tuple[int, int]] = []  # where special tokens may stand
    for piece, may_hold in pieces:
        if may_hold and searched and searched[-1][1] == len(text):
            searched[-1] = searched[-1][0], len(text) + len(piece)
        elif may_hold:
            searched.append((len(text), len(text) + len(piece)))
        text += piece
    ids: list[int] = []
    at = 0
    for start, end in searched:
        for first, past, id in tokenizer.find_special(text, start, end):
            if at < first:
                ids += tokenizer.encode(text[at:first], at_start=at == 0)
            ids.append(id)
            at = max(at, past)
    return ids + tokenizer.encode(text[at:], at_start=at == 0) if at < len(text) else ids


def encode_prompt(tokenizer: Tokenizer, pieces: Iterable[tuple[str, bool]]) -> list[int]:
    """`encode_pieces` after the start tokens, which are not put a second time before a text that begins with them."""
    ids = encode_pieces(tokenizer, pieces)
    start = list(tokenizer.start_ids)
    return ids if ids[: len(start)] == start else start + ids


def tokenizer_of(checkpoint: Checkpoint) -> Tokenizer:
    """The tokenizer of a checkpoint, wherever its format keeps it; raises what `load_tokenizer` raises."""
    return load_tokenizer(checkpoint.tokenizer_files, checkpoint.vocabulary, checkpoint.published_tokenizer)


def load_tokenizer(folder: Path, vocabulary: GGUFVocabulary | None = None, published: str | None = None) -> Tokenizer:
    """The tokenizer of what `read` finds, of the kind that reproduces it.

    Raises `RunError` where its file is missing or damaged.
    """
    with _uncollected():
        source = read(folder, vocabulary, published)
        kinds = sorted((find("tokenizers", name) for name in names("tokenizers")), key=lambda kind: kind.place)
        for kind in kinds[:-1]:
            try:
                tokenizer: Tokenizer = kind(source)
                return tokenizer
            except Inexact:
                continue
        last: Tokenizer = kinds[-1](source)
        return last


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection: a vocabulary is many small objects, and each pass would walk all of torch's too."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
