"""Length decay: the longer the text, the likelier its end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from gencli.stages import knob

if TYPE_CHECKING:
    from gencli.candidates import Candidates
    from gencli.memory import Memory
    from gencli.vocabulary import Vocabulary


LARGEST = 1e30  # of a logit: beyond it float32 soon ends


@dataclass(frozen=True)
class LengthDecay:
    """Raise the end tokens' logits by their size times factor^n - 1, n tokens after `start`; below 1 lowers them. 1 is off."""

    place: ClassVar[float] = 31
    source: ClassVar[str] = "transformers, ExponentialDecayLengthPenalty"
    reads: ClassVar[str] = "name"

    factor: float = knob(
        "float", 1.0, "Above 1 lets the text end sooner, below 1 later: 1.01 to 1.1 are usual; 1 is off.", neutral=1.0, low=0.01, high=100.0
    )
    start: int = knob("int", 0, "After how many new tokens it begins.", low=0)
    end_ids: tuple[int, ...] = ()

    def bind(self, vocabulary: Vocabulary) -> LengthDecay:
        """The same decay, knowing the checkpoint's end tokens."""
        return replace(self, end_ids=tuple(sorted(vocabulary.end_ids)))

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        late = {row: memory.step - self.start for row, memory in enumerate(memories) if memory.step > self.start}
        if self.factor == 1 or not self.end_ids or not late:
            return candidates
        import torch

        logits = candidates.logits.clone()
        ends = torch.tensor(self.end_ids)
        for row, steps in late.items():
            columns, _ = candidates.columns(row, ends)
            old = candidates.logits[row, columns]
            growth = math.exp(min(steps * math.log(self.factor), math.log(LARGEST))) - 1
            risen = (old + old.abs() * growth).clamp(max=LARGEST)
            logits[row, columns] = risen.where(old.isfinite(), old)
        return candidates.with_logits(logits)
