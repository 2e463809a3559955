"""The stages in order: a fold over candidates. Never draws a token, knows no model and no text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gencli.candidates import Candidates
from gencli.errors import UsageError
from gencli.memory import Memory
from gencli.stages import Stage

if TYPE_CHECKING:
    from gencli.vocabulary import Vocabulary


class Pipeline:
    """Stages by name, applied in the given order; the same stage may stand twice.

    A stage with a field `slot` learns its 0-based place by it, under which it keeps its notes. `needs` are the other prompts, without
    repetition, whose logits its stages must be handed; the first `head` stages are all that ask for some (0: there are others, or none).
    """

    def __init__(self, stages: Sequence[tuple[str, Stage]]) -> None:
        self.names = tuple(name for name, _ in stages)
        self.stages = tuple(_placed(stage, at) for at, (_, stage) in enumerate(stages))
        needed = [getattr(stage, "needs", None) for stage in self.stages]
        self.needs = tuple(dict.fromkeys(need for need in needed if need is not None))
        asks = [need is not None for need in needed]
        leading = asks.index(False) if False in asks else len(asks)
        self.head = leading if leading == sum(asks) else 0
        self._listeners = tuple(stage for stage in self.stages if hasattr(stage, "drawn"))
        self._rewinders = tuple(stage for stage in self.stages if hasattr(stage, "rewind"))

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

    def drawn(self, final: Candidates, ids: Sequence[int], memories: Sequence[Memory]) -> None:
        """Tell the stages that listen which token each row goes on with, before its memory appends it.

        `final` is what this pipeline left; a given token that it had removed has the log-probability -inf.
        """
        if not self._listeners:
            return
        totals = final.log_total[:, 0].tolist()
        for row, (token_id, memory) in enumerate(zip(ids, memories, strict=True)):
            logprob = min(0.0, final.logit(row, token_id) - totals[row])
            for stage in self._listeners:
                stage.drawn(token_id, logprob, memory)

    @property
    def rewinds(self) -> bool:
        """Whether a stage may take drawn tokens back."""
        return bool(self._rewinders)

    def forward_only(self, task: str, instead: str) -> Pipeline:
        """This pipeline, which is bound; a `UsageError` where a stage may take tokens back: a task that only goes on cannot follow."""
        for name, stage in zip(self.names, self.stages, strict=True):
            if getattr(stage, "goes_back", False):
                raise UsageError(f"{name} takes tokens back, and {task}; {instead}.")
        return self

    def held(self, memory: Memory) -> int:
        """The first step whose token a stage may still take back; the memory's own step where none may.

        Where a token may go, so may what its coming made sure of: another in its place can go on with what began before it.
        """
        step = memory.step
        while (earlier := min((stage.held(memory, step) for stage in self._rewinders), default=step)) < step:
            step = earlier
        return step

    def rewind(self, memory: Memory) -> str | None:
        """Let the stages take the memory back to where what was drawn since must not stand: why, or None."""
        return next((why for stage in self._rewinders if (why := stage.rewind(memory)) is not None), None)


def _placed(stage: Any, at: int) -> Any:
    return replace(stage, slot=at) if hasattr(stage, "slot") else stage
