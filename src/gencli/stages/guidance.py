"""Guidance: what the prompt makes likelier than another text does counts for more (classifier-free guidance)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from gencli.errors import UsageError
from gencli.stages import knob

if TYPE_CHECKING:
    from torch import Tensor

    from gencli.candidates import Candidates
    from gencli.memory import Memory
    from gencli.vocabulary import Vocabulary


@dataclass(frozen=True)
class Guidance:
    """Move every log-probability so many times as far from what it is under a negative prompt.

    Above 1 the prompt counts for more, below it for less; at 0 the negative prompt alone decides. The output so far stands behind
    both. Without a negative prompt the other text begins with the prompt's last token.
    """

    place: ClassVar[float] = 5
    aliases: ClassVar[tuple[str, ...]] = ("cfg",)
    source: ClassVar[str] = "Sanchez et al. 2023, Stay on topic with Classifier-Free Guidance, arXiv:2306.17806"

    scale: float = knob(
        "float", 1.0, "How much the prompt counts against the negative prompt; 1 is the model alone.", neutral=1.0, low=0.0, high=100.0
    )
    negative: str = knob("text", "", "A prompt to move away from; without it, the prompt's last token.")
    negative_ids: tuple[int, ...] = ()

    def bind(self, vocabulary: Vocabulary) -> Guidance:
        """The same guidance with its negative prompt as token ids, start tokens included."""
        return replace(self, negative_ids=(*vocabulary.start_ids, *vocabulary.encode(self.negative)) if self.negative else ())

    @property
    def needs(self) -> tuple[int, ...] | None:
        """The negative prompt's ids; None where it changes nothing."""
        return None if self.scale == 1 else self.negative_ids

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.scale == 1:
            return candidates
        logits, base = candidates.logits, self._unguided(candidates, memories)
        own = logits.log_softmax(-1)
        base = base.where(base > -float("inf"), own) if bool(base.isneginf().any()) else base  # no distance from what is impossible
        return candidates.with_logits((self.scale * (own - base) + base).masked_fill(logits.isneginf(), -float("inf")))

    def _unguided(self, candidates: Candidates, memories: Sequence[Memory]) -> Tensor:
        """(rows, n) log-probabilities under the negative prompt, in the candidates' own type."""
        import torch

        handed = [each for memory in memories if (each := memory.handed(self.negative_ids)) is not None]
        if len(handed) < candidates.rows:
            raise UsageError("guidance asks the model twice at every step, which cannot be done here; leave it out, or set it to 1.")
        every = torch.stack(handed).to(candidates.logits).log_softmax(-1)
        return every if candidates.ids is None else every.gather(1, candidates.ids)
