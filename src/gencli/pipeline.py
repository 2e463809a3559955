"""The stages in order: a fold over candidates. Never draws a token, knows no model and no text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gencli.candidates import Candidates
from gencli.memory import Memory
from gencli.stages import Stage

if TYPE_CHECKING:
    from gencli.vocabulary import Vocabulary


class Pipeline:
    """Stages by name, applied in the given order; the same stage may stand twice."""

    def __init__(self, stages: Sequence[tuple[str, Stage]]) -> None:
        self.names = tuple(name for name, _ in stages)
        self.stages = tuple(stage for _, stage in stages)

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        """What is left after every stage."""
        for stage in self.stages:
            candidates = stage(candidates, memories)
        return candidates

    def traced(self, candidates: Candidates, memories: Sequence[Memory]) -> list[Candidates]:
        """The same fold, with what was in play before the first stage and after each: stages + 1 items."""
        passed = [candidates]
        for stage in self.stages:
            passed.append(stage(passed[-1], memories))
        return passed

    def bind(self, vocabulary: Vocabulary) -> Pipeline:
        """The same pipeline with knobs given as text turned into token ids."""
        bound = (stage.bind(vocabulary) if hasattr(stage, "bind") else stage for stage in self.stages)
        return Pipeline(list(zip(self.names, bound, strict=True)))
