"""Tokens that are matched in the text itself, before any merging. Knows no model and no file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

# White space as Unicode has it; Python's own \s also takes the four information separators.
_SPACE = re.compile(r"[^\S\x1c-\x1f]")
# What the library calls part of a word: letters, marks, decimal digits, connectors and joiners; enclosed letters are symbols
# that count as letters. Python's own \w takes other numbers in, and leaves marks out.
_WORD_KINDS = frozenset(("Lu", "Ll", "Lt", "Lm", "Lo", "Nl", "Mn", "Mc", "Me", "Nd", "Pc"))
_ENCLOSED = re.compile("[\u24b6-\u24e9\U0001f130-\U0001f149\U0001f150-\U0001f169\U0001f170-\U0001f189\u200c\u200d]")

# One pattern of a hundred thousand tokens would take seconds to compile: it looks for beginnings, a table does the rest.
_BEGINNING = 4
_MANY = 1000


@dataclass(frozen=True)
class AddedToken:
    """One entry of tokenizer.json's `added_tokens`.

    `special` tokens count only where the text may hold them, the others always. `lstrip` and `rstrip`
    take the white space beside a match into it, `single_word` tokens match only between non-words,
    `normalized` ones are looked for in the normalised text.
    """

    id: int
    content: str
    special: bool = False
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False


class AddedTokens:
    """Finds added tokens, leftmost first and the longest of those, as the `tokenizers` library does.

    It looks for those that are not `normalized` first, then for the others in what is left.
    """

    def __init__(self, tokens: Iterable[AddedToken]) -> None:
        tokens = list(tokens)
        self._raw, self._normalized = (_Finder([token for token in tokens if token.normalized is each]) for each in (False, True))

    def find(self, text: str, special: bool, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int]]:
        """(from, to, id) of each match between `start` and `end`: of the special tokens, or of the others.

        A match of the other kind is passed over and stays text, and so does what overlaps it. White
        space that a match swallows may lie outside of `start` and `end`.
        """
        end = len(text) if end is None else end
        for first, past, id in self._raw.find(text, special, start, end):
            yield from self._normalized.find(text, special, start, first)
            yield first, past, id
            start = past
        yield from self._normalized.find(text, special, start, end)

    def around(self, text: str, merge: Callable[[str], list[int]]) -> list[int]:
        """The ids of ordinary text: the tokens that are not special, and between them what `merge` makes of it."""
        ids: list[int] = []
        at = 0
        for first, past, id in self.find(text, special=False):
            ids += merge(text[at:first])
            ids.append(id)
            at = past
        return ids + merge(text[at:])


class _Finder:
    def __init__(self, tokens: Sequence[AddedToken]) -> None:
        self._by_content = {token.content: token for token in tokens}
        beginnings = {token.content[:_BEGINNING] for token in tokens}
        if len(beginnings) > _MANY:
            beginnings = {beginning[0] for beginning in beginnings}
        self._candidates = re.compile("|".join(map(re.escape, sorted(beginnings)))) if tokens else None
        lengths: dict[str, set[int]] = {}  # first character -> the lengths of the tokens that begin with it
        for token in tokens:
            lengths.setdefault(token.content[0], set()).add(len(token.content))
        self._lengths = {first: sorted(each, reverse=True) for first, each in lengths.items()}

    def find(self, text: str, special: bool, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        last = 0
        for first, token in self._tokens(text, start, end):
            past = first + len(token.content)
            if token.special is not special or first < last:
                continue
            if token.single_word and (_is_word(text[past : past + 1]) or _is_word(text[first - 1 : first])):
                continue
            if token.rstrip:
                past = _space_end(text, past)
            if token.lstrip:
                first = _space_start(text, first, last)
            last = past
            yield first, past, token.id

    def _tokens(self, text: str, at: int, end: int) -> Iterator[tuple[int, AddedToken]]:
        """Each token and where it begins, leftmost first, the longest of those, without overlap."""
        while self._candidates and (candidate := self._candidates.search(text, at, end)):
            at = candidate.start()
            contents = (text[at : at + length] for length in self._lengths[text[at]] if at + length <= end)
            content = next((content for content in contents if content in self._by_content), "")
            if content:
                yield at, self._by_content[content]
            at += len(content) or 1


def _is_word(character: str) -> bool:
    """Whether a character is part of a word; "" is none."""
    return bool(character) and (unicodedata.category(character) in _WORD_KINDS or _ENCLOSED.match(character) is not None)


def _space_end(text: str, at: int) -> int:
    while at < len(text) and _SPACE.match(text, at):
        at += 1
    return at


def _space_start(text: str, at: int, floor: int) -> int:
    while at > floor and _SPACE.match(text, at - 1):
        at -= 1
    return at
