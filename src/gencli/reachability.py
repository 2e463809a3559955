"""What it takes for a preset to let a text through: the nearest value of one knob, or of one a blocking stage. Knows no terminal.

A change is searched on the tokens that were blocked and then verified along the whole text; what it
blocks newly is searched as well, until a change stands or the rounds are over.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gencli.candidates import Candidates
from gencli.knob_search import nearest
from gencli.pipeline import Pipeline
from gencli.preset_yaml import quoted
from gencli.scores import Change, ScoredToken
from gencli.stages import Knob, Stage, knobs
from gencli.walking import HELD, Judge, Walk

if TYPE_CHECKING:
    from torch import Tensor

    from gencli.vocabulary import Vocabulary

ROUNDS = 6  # of searching and verifying

Stages = Sequence[tuple[str, Stage]]
Values = Mapping[tuple[int, str], Any]  # (place of a stage, knob) -> its new value


def what_would_help(
    walk: Walk, stages: Stages, vocabulary: Vocabulary, blocked: Sequence[ScoredToken], held: dict[int, Tensor]
) -> tuple[list[Change], list[Change]]:
    """The changes each of which lets the text through alone; where there are none, one for each stage that blocks.

    `blocked` tokens were not let through by the `stages` (not bound); `held` are their raw logits by place.
    """
    search = _Search(walk, stages, vocabulary, held)
    changes = sorted(search.single(), key=lambda change: change.at != blocked[0].removed_at)
    blocking = {token.removed_at for token in blocked if token.removed_at is not None}
    return changes, [] if changes else search.one_each(blocking)


class _Search:
    """Asks pipelines with other values whether they let the text through."""

    def __init__(self, walk: Walk, stages: Stages, vocabulary: Vocabulary, held: dict[int, Tensor]) -> None:
        self._walk, self._stages, self._vocabulary, self._held = walk, stages, vocabulary, held
        self._most = max(self._vocabulary.size, len(walk.given.prompt_ids) + len(walk.given.ids)) + 1
        # what such a stage does at a step depends on the steps before it, or on logits that are not held: one step alone cannot be asked
        self._learns = any(hasattr(stage, "drawn") or hasattr(stage, "needs") for _, stage in stages)

    def single(self) -> list[Change]:
        """The nearest value of each knob that lets the text through by itself, in the pipeline's order."""
        pending = [(at, knob) for at, (_, stage) in enumerate(self._stages) for knob in knobs(stage)]
        found: dict[tuple[int, str], Any] = {}
        for _ in range(ROUNDS):
            proposed = {(at, knob.name): self._nearest(at, knob, {}) for at, knob in pending}
            proposed = {key: value for key, value in proposed.items() if value is not None}
            missed = self._missed([{key: value} for key, value in proposed.items()])
            found |= {key: value for (key, value), misses in zip(proposed.items(), missed, strict=True) if not misses}
            pending = [(at, knob) for at, knob in pending if (at, knob.name) in proposed and (at, knob.name) not in found]
            if not pending:
                break
        return [self._change(at, name, found[at, name]) for at, name in sorted(found, key=lambda key: key[0])]

    def one_each(self, blocking: Set[int]) -> list[Change]:
        """The first knob of each blocking stage set so that all together let the text through; none where nothing does."""
        places, first = set(blocking), [knobs(stage)[0] for _, stage in self._stages]
        for _ in range(ROUNDS):
            off = {(at, first[at].name): first[at].neutral for at in places}
            (misses,) = self._missed([off])
            more = {at for at in misses if at is not None} - places
            if misses and not more:
                return []
            places |= more
            if misses:
                continue
            values = dict(off)
            for at in sorted(places):
                key = (at, first[at].name)
                rest = {each: value for each, value in values.items() if each != key}
                value = self._value(key) if self._passes(rest) else self._nearest(at, first[at], rest)
                values[key] = off[key] if value is None else value
            (misses,) = self._missed([values])
            if not misses:
                return [self._change(at, name, value) for (at, name), value in sorted(values.items()) if value != self._value((at, name))]
        return []

    def _value(self, key: tuple[int, str]) -> Any:
        return getattr(self._stages[key[0]][1], key[1])

    def _nearest(self, at: int, knob: Knob, others: Values) -> Any:
        def holds(value: Any) -> bool:
            return self._passes({**others, (at, knob.name): value})

        blocked = [self._walk.given.ids[place] for place in sorted(self._held)]
        return nearest(knob, self._value((at, knob.name)), holds, self._most, blocked)

    def _pipeline(self, values: Values) -> Pipeline:
        stages = list(self._stages)
        for (at, name), value in values.items():
            stages[at] = (stages[at][0], replace(stages[at][1], **{name: value}))  # type: ignore[type-var]
        return Pipeline(stages).bind(self._vocabulary)

    def _passes(self, values: Values) -> bool:
        """Whether the tokens that are held get through; where stages learn, all."""
        if self._learns:
            return not self._missed([values], all_of_them=False)[0]
        given, judge = self._walk.given, Judge(self._pipeline(values), self._walk)
        at = 0
        for place in sorted(self._held):
            for token in given.ids[at:place]:
                judge.memory.append(token)
            at = place
            if judge.lets_through(Candidates(self._held[place]), given.ids[place]) is None:
                return False
        return True

    def _missed(self, proposals: Sequence[Values], all_of_them: bool = True) -> list[set[int | None]]:
        """For each proposal, along the whole text, the places of the stages that still block; what they block is held from now on."""
        judges = [Judge(self._pipeline(values), self._walk) for values in proposals]
        missed: list[set[int | None]] = [set() for _ in judges]
        for first, logits in self._walk.parts() if judges else ():
            for row in range(len(logits)):
                raw, token = Candidates(logits[row : row + 1]), self._walk.given.ids[first + row]
                for judge, misses in zip(judges, missed, strict=True):
                    final = judge.lets_through(raw, token)
                    if final is None:
                        if not all_of_them:
                            return [{None}]
                        misses.add(judge.blocked(raw, token)[1])
                        self._hold(first + row, raw)
                    judge.go_on(raw, final, token)
        return missed

    def _hold(self, place: int, raw: Candidates) -> None:
        if (len(self._held) + 1) * raw.width <= HELD:
            self._held.setdefault(place, raw.logits.clone())

    def _change(self, at: int, knob: str, new: Any) -> Change:
        name, stage = self._stages[at]
        return Change(name, at, knob, getattr(stage, knob), new, self._typed(at, knob, new))

    def _typed(self, at: int, knob: str, value: Any) -> str:
        """The flag that makes a change: --top-k 40, --set top_p#2=0.9, --set dry.base=2."""
        name, stage = self._stages[at]
        same = [place for place, (other, _) in enumerate(self._stages) if other == name]
        is_first = knob == knobs(stage)[0].name
        text = _written(next(each for each in knobs(stage) if each.name == knob), value)
        if is_first and len(same) == 1 and not isinstance(value, tuple):
            return shlex.join([f"--{name.replace('_', '-')}", text])
        number = f"#{same.index(at) + 1}" if len(same) > 1 else ""
        return shlex.join(["--set", f"{name}{number}{'' if is_first else f'.{knob}'}={text}"])


def _written(knob: Knob, value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    if knob.kind == "map":
        pairs = [(quoted(key), quoted(number)) for key, number in value]
        if len(pairs) == len(dict(pairs)):
            return "{" + ", ".join(f"{key}: {number}" for key, number in pairs) + "}"
        return "[" + ", ".join(f"[{key}, {number}]" for key, number in pairs) + "]"  # a mapping holds a key once
    return "[" + ", ".join("[" + ", ".join(map(str, each)) + "]" if isinstance(each, tuple) else quoted(each) for each in value) + "]"
