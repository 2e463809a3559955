"""What a stage or a renderer may know of the tokenizer, as plain values. Knows no tokenizer library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a checkpoint.

    `size` is the number of logits (it may exceed the tokenizer's own count: padded rows have empty
    bytes); `token_bytes[id]` are a token's own bytes; `end_ids` end a run; `special_ids` print only
    with --special; `encode` turns ordinary text into ids; `start_ids` stand before a prompt; `strips_start`: the first generated space
    at the very start of a text is the tokenizer's, not the text's.
    """

    size: int
    token_bytes: Sequence[bytes]
    end_ids: frozenset[int]
    special_ids: frozenset[int]
    encode: Callable[[str], list[int]]
    strips_start: bool = False
    start_ids: tuple[int, ...] = ()

    def text(self, token_id: int) -> str:
        """A token's bytes as text; bytes that are no character by themselves become U+FFFD."""
        return self.token_bytes[token_id].decode("utf-8", "replace")
