"""Second decoders beside the sequences, which read another prompt and the same output. Knows no stage, draw or text."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from gencli.decoder import Decoder
from gencli.memory import Memory
from gencli.models import Model


class Companions:
    """The rows of a batch under other prompts, from the first step on: each follows what its memory says was drawn.

    `prompts` are those of `Pipeline.needs`, a decoder each; an empty one stands for the last token of the batch's own. Where
    there are none, nothing is done.
    """

    def __init__(
        self, model: Model, prompts: Sequence[tuple[int, ...]], *, cache: bool = True, overflow: str = "error", new: int | None = None
    ) -> None:
        """`new` bounds the tokens to come, for which memory is set aside (None: the context)."""
        self.model, self.prompts = model, tuple(prompts)
        self.cache, self.overflow, self.new = cache, overflow, new
        self._decoders: dict[tuple[int, ...], Decoder] = {}
        self._starts: dict[tuple[int, ...], list[int]] = {}
        self._steps: list[int] = []  # how many drawn tokens each row has read

    def hand(self, memories: Sequence[Memory]) -> None:
        """Hand every memory, one a row, the logits of its step. Raises `UsageError` where a prompt does not fit."""
        if not self.prompts:
            return
        for prompt in self.prompts:
            logits = self._step(prompt, memories) if self._steps else self._prefill(prompt, memories)
            for memory, row in zip(memories, logits, strict=True):
                memory.hand(prompt, row)
        self._steps = [memory.step for memory in memories]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order."""
        for decoder in self._decoders.values():
            decoder.keep(rows)
        self._steps = [self._steps[row] for row in rows] if self._steps else []

    def _prefill(self, prompt: tuple[int, ...], memories: Sequence[Memory]) -> Tensor:
        start = list(prompt) or memories[0].ids[: memories[0].prompt_length][-1:]
        room = None if self.new is None else len(start) + self.new
        decoder = Decoder(self.model, cache=self.cache, overflow=self.overflow, room=room)
        self._decoders[prompt], self._starts[prompt] = decoder, start
        logits = decoder.prefill(start, len(memories))
        assert logits is not None  # nothing asked to interrupt it
        return logits

    def _step(self, prompt: tuple[int, ...], memories: Sequence[Memory]) -> Tensor:
        """One more token a row; a row that was taken back reads the last one that is left once more, its prompt's where none is."""
        decoder, start, last = self._decoders[prompt], self._starts[prompt], []
        for row, (memory, read) in enumerate(zip(memories, self._steps, strict=True)):
            if memory.step <= read:
                decoder.rewind(len(start) + memory.step - 1, row)
            last.append(int(memory.latest(1)[0]) if memory.step else start[-1])
        return decoder.step(last)
