"""One token a character, as nanoGPT's own data sets have it. Knows no model and no file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from gencli.errors import RunError
from gencli.tokenizers._alphabet import Alphabet
from gencli.tokenizers._source import Inexact


class Characters:
    """Text <-> ids by a table; a character that is not in it is an error."""

    place: ClassVar[int] = 3
    strips_start = False
    special: Mapping[str, int] = {}
    start_ids: tuple[int, ...] = ()

    def __init__(self, source: Any) -> None:
        if not isinstance(source, Alphabet):
            raise Inexact("its tokens are more than characters")
        self._path = source.path
        self._ids = {character: id for id, character in enumerate(source.characters)}
        self.size = len(source.characters)
        self.token_bytes: Sequence[bytes] = [character.encode() for character in source.characters]

    def encode(self, text: str, *, at_start: bool = True) -> list[int]:
        """The ids of a text; `at_start` makes no difference here. Raises `RunError` for a character that the model never saw."""
        try:
            return [self._ids[character] for character in text]
        except KeyError as error:
            raise RunError(f"{self._path} has no token for {error}; this model knows {self.size} characters.") from error

    def find_special(self, text: str, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """There are none."""
        return iter(())
