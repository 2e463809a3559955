"""A second decoder beside the sequence, which reads another prompt and the same output. Knows no stage, draw or text.

Source of the formula: Sanchez et al. 2023, Stay on topic with Classifier-Free Guidance, arXiv:2306.17806.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from gencli.decoder import Decoder
from gencli.models import Model


def guided(logits: Tensor, unguided: Tensor, scale: float) -> Tensor:
    """Log-probabilities (rows, vocabulary) of `unguided`, moved `scale` times the way to those of `logits`; not normalised.

    Both are (rows, vocabulary) logits or log-probabilities, finite. With `scale` 1 they are `logits`' own, with 0 those of `unguided`.
    """
    base = unguided.log_softmax(-1)
    return scale * (logits.log_softmax(-1) - base) + base


class Companion:
    """The rows of a batch under a negative prompt: each grows by the tokens that its sequence draws.

    An empty negative prompt stands for the last token of `prompt`. Rows are told apart as in `Decoder`.
    """

    def __init__(
        self,
        model: Model,
        prompt: Sequence[int],
        negative: Sequence[int] = (),
        *,
        new: int | None = None,
        cache: bool = True,
        overflow: str = "error",
    ) -> None:
        """`new` bounds the tokens to come, for which memory is set aside (None: the context)."""
        self.ids = list(negative or prompt[-1:])
        room = None if new is None else len(self.ids) + new
        self._decoder = Decoder(model, cache=cache, overflow=overflow, room=room)

    def prefill(self, rows: int = 1) -> Tensor:
        """Logits (rows, vocabulary) after the negative prompt. Raises `UsageError` where it does not fit."""
        logits = self._decoder.prefill(self.ids, rows)
        assert logits is not None  # nothing asked to interrupt it
        return logits

    def step(self, ids: Sequence[int]) -> Tensor:
        """Logits (rows, vocabulary) after one more token a row."""
        return self._decoder.step(ids)

    def rewind(self, step: int, row: int) -> int | None:
        """Take a row back to `step` drawn tokens, less the last that is left: `step` reads that one again.

        Before the first token the last of the negative prompt is read again: its id, or None where a drawn one is.
        """
        self._decoder.rewind(len(self.ids) + step - 1, row)
        return None if step else self.ids[-1]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order."""
        self._decoder.keep(rows)
