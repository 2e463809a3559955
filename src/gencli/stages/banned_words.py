"""Banned words: single tokens never, and phrases by going back to where they began."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from gencli.errors import UsageError
from gencli.stages import knob

if TYPE_CHECKING:
    from gencli.candidates import Candidates
    from gencli.memory import Memory
    from gencli.vocabulary import Vocabulary


class Piece(NamedTuple):
    """A drawn token that may still be taken back: its step, the bytes it gave the text, and what was banned in its place."""

    step: int
    token: int
    data: bytes
    bans: frozenset[int]


class State(NamedTuple):
    """What is noted: the tokens in which a phrase may have begun, a phrase that is complete, and what is banned at `step`."""

    tail: tuple[Piece, ...] = ()
    phrase: bytes = b""
    spelt: tuple[Piece, ...] = ()  # the tokens that spell the complete phrase
    step: int = -1
    bans: frozenset[int] = frozenset()


@dataclass(frozen=True)
class BannedWords:
    """Ban texts and tokens from what is written: a token that holds a banned text by itself, and every phrase of several.

    When a phrase is complete, however its text was cut into tokens, the text goes back to where it began, and the
    token that began it is banned in that place. Where nothing else is left in play it stands.
    """

    place: ClassVar[float] = 11
    aliases: ClassVar[tuple[str, ...]] = ("bad_words",)
    source: ClassVar[str] = "koboldcpp, banned strings; sam-paech, antislop-sampler"
    reads: ClassVar[str] = "token"

    words: tuple[str | int | tuple[int, ...], ...] = knob("words", (), "A text, or a token by its id, that is never written.", neutral=())
    slot: int = 0
    forbidden: tuple[int, ...] = field(default=(), repr=False)  # tokens that are banned everywhere
    # what only a vocabulary tells: too much to write down, so it takes no part in comparisons
    phrases: tuple[bytes, ...] = field(default=(), repr=False, compare=False)
    begun: frozenset[bytes] = field(default=frozenset(), repr=False, compare=False)  # every proper beginning of a phrase
    data: Sequence[bytes] = field(default=(), repr=False, compare=False)  # what each token gives the text
    silent: frozenset[int] = field(default=frozenset(), repr=False, compare=False)

    def bind(self, vocabulary: Vocabulary) -> BannedWords:
        """The same words, as bytes and tokens of this vocabulary; raises `UsageError` for what is none of it."""
        alone: set[int] = set()
        texts: list[bytes] = []
        for word in self.words:
            ids = (word,) if isinstance(word, int) else () if isinstance(word, str) else word
            if outside := [token for token in ids if token >= vocabulary.size]:
                raise UsageError(f"banned_words: token id {outside[0]} is outside the vocabulary (0 to {vocabulary.size - 1}).")
            if len(ids) == 1:
                alone.add(ids[0])
            elif isinstance(word, str):
                texts.append(word.encode("utf-8", "surrogatepass"))
            else:
                texts.append(_spelt(ids, vocabulary))
        if texts and not vocabulary.token_bytes:
            raise UsageError("banned_words: this vocabulary has no texts; name each token by its id.")
        phrases = tuple(dict.fromkeys(texts))
        shortest = min(map(len, phrases), default=0)
        for token, data in enumerate(vocabulary.token_bytes if phrases else ()):
            if len(data) >= shortest and token not in vocabulary.special_ids and any(text in data for text in phrases):
                alone.add(token)
        return replace(
            self,
            phrases=phrases,
            begun=frozenset(text[:end] for text in phrases for end in range(1, len(text))),
            forbidden=tuple(sorted(alone)),
            data=vocabulary.token_bytes,
            silent=vocabulary.special_ids,
        )

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if not self.words:
            return candidates
        import torch

        if self.forbidden:
            candidates = candidates.without(self.forbidden)
        here = {row: bans for row, memory in enumerate(memories) if (bans := self._bans(memory))}
        return candidates.without_each({row: torch.tensor(sorted(bans)) for row, bans in here.items()}) if here else candidates

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        return "it is or holds a banned word" if token_id in self.forbidden else "a banned phrase began with it here"

    def drawn(self, token_id: int, logprob: float, memory: Memory) -> None:
        """Follow the text: which tokens a phrase may have begun in, and whether one is complete."""
        if self.phrases:  # which a trace does not keep
            data = b"" if token_id in self.silent else self.data[token_id]
            tail = (*self._state(memory).tail, Piece(memory.step, token_id, data, self._bans(memory)))
            memory.note(self.slot, self._followed(tail))

    @property
    def goes_back(self) -> bool:
        """Whether there is a text to take back; a token that is banned by its id never comes."""
        return bool(self.phrases)

    def held(self, memory: Memory, step: int) -> int:
        """The first step whose token might still be taken back when the memory was at `step`; `step` where none might."""
        tail = self._state(memory, step).tail
        return tail[0].step if tail else step

    def rewind(self, memory: Memory) -> str | None:
        """Take the memory back to where a complete phrase began, and ban that beginning there: why, or None.

        Where the place has nothing else left in play, the phrase's next token is banned in its own place,
        and so on; where none of them has, the phrase stands.
        """
        state = self._state(memory)
        for piece in state.spelt:
            if piece.token not in piece.bans and piece.token not in self.forbidden:
                memory.rewind(piece.step)
                memory.note(self.slot, State(self._state(memory).tail, step=piece.step, bans=piece.bans | {piece.token}))
                return f'banned_words: "{state.phrase.decode(errors="replace")}" was complete'
        return None

    def _state(self, memory: Memory, before: int | None = None) -> State:
        state: State = memory.noted(self.slot, State(), before)
        return state

    def _bans(self, memory: Memory) -> frozenset[int]:
        state = self._state(memory)
        return state.bans if state.step == memory.step else frozenset()

    def _followed(self, pieces: tuple[Piece, ...]) -> State:
        """The state after these tokens, of which only the last is new."""
        text = b"".join(piece.data for piece in pieces)
        known = len(text) - len(pieces[-1].data)
        found = ((at + len(phrase), len(phrase), phrase) for phrase in self.phrases if (at := _find(text, phrase, known)) >= 0)
        end, length, phrase = min(found, default=(0, 0, b""))  # the one that is complete first, the shortest among those
        # where nothing is taken back, the longest end that begins a phrase is what counts
        start = next((at for at in range(len(text)) if text[at:] in self.begun), len(text))
        spelt = _from(pieces, end - length) if phrase else ()
        return State(_from(pieces, start), phrase, spelt)


def _find(text: bytes, phrase: bytes, known: int) -> int:
    """Where the phrase stands in the text and ends beyond what was known before; -1 where it does not."""
    return text.find(phrase, max(0, known - len(phrase) + 1))


def _from(pieces: tuple[Piece, ...], start: int) -> tuple[Piece, ...]:
    """The tokens from that on whose bytes hold the byte at `start`; none beyond the last."""
    at = 0
    for place, piece in enumerate(pieces):
        at += len(piece.data)
        if at > start:
            return pieces[place:]
    return ()


def _spelt(ids: Sequence[int], vocabulary: Vocabulary) -> bytes:
    text = b"".join(vocabulary.token_bytes[token] for token in ids if vocabulary.token_bytes)
    if (vocabulary.token_bytes and not text) or not vocabulary.special_ids.isdisjoint(ids):
        raise UsageError(f"banned_words: the tokens {list(ids)} spell no text; ban special tokens one by one.")
    return text
