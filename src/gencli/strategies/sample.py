"""Sampling: one draw a step from what the pipeline leaves in play. Knows no text and no limits."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from gencli.candidates import Candidates
from gencli.decoder import Decoder
from gencli.drawing import draw
from gencli.guidance import Companions
from gencli.memory import Memory
from gencli.pipeline import Pipeline
from gencli.strategies import Step


class Sample:
    """Draws every row's next token by that row's own noise; temperature 0 makes it greedy.

    Where a stage takes a row back, that step is drawn once more with the same noise, without what is
    banned there by now: so a run is repeatable, and a sample is the same in any batch.
    """

    def __init__(
        self, decoder: Decoder, pipeline: Pipeline, memories: Sequence[Memory], logits: Tensor, companions: Companions | None = None
    ) -> None:
        """`logits` (rows, vocabulary) are those after the prompt; `companions` hand in what the pipeline needs beside them."""
        self.decoder = decoder
        self.pipeline = pipeline
        self.memories = list(memories)
        self.companions = companions or Companions(decoder.model, ())
        self._logits: Tensor | None = logits
        self._last: list[int] = []

    def step(self, traced: bool = False) -> Step:
        """Draw the next token of every row and remember it; the model runs only when asked again."""
        logits = self._logits if self._logits is not None else self.decoder.step(self._last)
        self.companions.hand(self.memories)
        raw = Candidates(logits)
        passed = self.pipeline.traced(raw, self.memories) if traced else None
        final = passed[-1] if passed else self.pipeline(raw, self.memories)
        ids = draw(final, [memory.uniform() for memory in self.memories], self.memories[0].step)
        self.pipeline.drawn(final, ids, self.memories)
        for memory, token_id in zip(self.memories, ids, strict=True):
            memory.append(token_id)
        self._logits, self._last = None, list(ids)
        if not self.pipeline.rewinds:
            return Step(ids, passed, final)
        retracted = self._rewound()
        return Step(ids, passed, final, retracted, [self.pipeline.held(memory) for memory in self.memories])

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only; the others' place in the cache is freed."""
        self.memories = [self.memories[row] for row in rows]
        self._last = [self._last[row] for row in rows]
        self.decoder.keep(rows)
        self.companions.keep(rows)

    def _rewound(self) -> dict[int, str]:
        """The rows that the stages took back, and why; the decoder goes with them."""
        retracted = {}
        for row, memory in enumerate(self.memories):
            if (why := self.pipeline.rewind(memory)) is not None:
                retracted[row] = why
                ids = memory.ids
                # the next step reads the token before the place again, and draws there
                self.decoder.rewind(len(ids) - 1, row)
                self._last[row] = ids[-1]
        return retracted
