"""No repeated n-gram: no run of so many tokens comes twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gencli.stages import knob

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gencli.candidates import Candidates
    from gencli.memory import Memory


@dataclass(frozen=True)
class NoRepeatNgram:
    """Forbid the token that would complete a run of `size` tokens which prompt or output already hold. 0 is off.

    Where that would leave nothing, the row stays as it was.
    """

    place: ClassVar[float] = 25
    source: ClassVar[str] = "Paulus, Xiong and Socher 2017, A Deep Reinforced Model for Abstractive Summarization (arXiv:1705.04304)"
    reads: ClassVar[str] = "token"
    aliases: ClassVar[tuple[str, ...]] = ("no_repeat_ngram_size",)

    size: int = knob("int", 0, "Length of the runs of tokens that come once only; 0 is off.", neutral=0, low=0)

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        if self.size == 0:
            return candidates
        import torch

        banned = {row: torch.from_numpy(_completing(memory.latest(), self.size)) for row, memory in enumerate(memories)}
        banned = {row: ids for row, ids in banned.items() if len(ids)}
        return candidates.without_each(banned) if banned else candidates

    def because(self, before: Candidates, row: int, token_id: int) -> str:
        return f"the text already holds these {self.size} tokens in a row" if self.size > 1 else "the text already holds it"


def _completing(ids: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """(m,) the ids that followed an earlier run of the last `size` - 1 ids."""
    ends = len(ids) - size + 1  # so many runs of that length are followed by a token
    if ends <= 0:
        return ids[:0]
    import numpy as np

    same = np.ones(ends, dtype=bool)
    for place in range(size - 1):
        same &= ids[place : place + ends] == ids[ends + place]
    completing: NDArray[np.int64] = ids[size - 1 :][same]
    return completing
