"""The shelf of stages: Candidates -> Candidates. Here is their contract; one file holds one stage.

`stages/top_k.py` holds `TopK`; it is `top_k:` in a preset and `--top-k` on the command line. A stage
is a frozen dataclass whose fields are its knobs, made with `knob`; the first field is the one that a
bare value sets. Stage files import no torch at their top: presets and help texts load them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from gencli.errors import UsageError, unknown
from gencli.registry import find, names

if TYPE_CHECKING:
    from gencli.candidates import Candidates
    from gencli.memory import Memory


@dataclass(frozen=True)
class Knob:
    """What a stage's setting accepts.

    `kind` is "float", "int", "choice", "text", "map" (text or id -> number) or "words" (a tuple of texts, ids and
    sequences of ids; one text or id alone will do); a number lies in [low, high], without the ends named in `open` ("low", "high",
    "both" or ""); `neutral` is the value with which the stage changes nothing (None: this knob alone
    decides nothing).
    """

    name: str
    kind: str
    help: str
    default: Any
    neutral: Any = None
    low: float | None = None
    high: float | None = None
    open: str = ""
    choices: tuple[str, ...] = ()

    @property
    def holds_several(self) -> bool:
        """Whether a flag may be given several times, for an item each."""
        return self.kind in ("map", "words")

    def range(self) -> str:
        """The range in words: "in (0, 1]", "at least 0", "one of a, b"."""
        if self.kind == "choice":
            return f"one of {', '.join(self.choices)}"
        if self.kind == "text":
            return "a text"
        if self.kind == "map":
            return "a mapping of token text or id to a number"
        if self.kind == "words":
            return "a list of texts, token ids and lists of token ids"
        return self._interval()

    def _interval(self) -> str:
        low, high = self.low, self.high
        if low is not None and high is not None:
            left, right = "(" if self.open in ("low", "both") else "[", ")" if self.open in ("high", "both") else "]"
            return f"in {left}{low:g}, {high:g}{right}"
        if low is not None:
            return f"greater than {low:g}" if self.open in ("low", "both") else f"at least {low:g}"
        return "any number"

    def check(self, value: Any, label: str) -> Any:
        """The value in its own type, or a `UsageError` that names `label` and the range."""
        sentence = f"{label} must be {'a whole number ' if self.kind == 'int' else ''}{self.range()}, not {value!r}."
        if self.kind == "choice":
            if value not in self.choices:
                raise unknown(f"value of {label}", str(value), self.choices)
            return value
        if self.kind == "text" and isinstance(value, str):
            return value
        if self.kind == "map":
            return self._check_map(value, sentence)
        if self.kind == "words":
            return _check_words(value, sentence)
        number = None if self.kind == "text" else _finite(value)
        if number is None or not self._holds(number) or (self.kind == "int" and number != int(number)):
            raise UsageError(sentence)
        return int(number) if self.kind == "int" else float(number)

    def _holds(self, number: float) -> bool:
        too_low = self.low is not None and (number < self.low or (number == self.low and self.open in ("low", "both")))
        too_high = self.high is not None and (number > self.high or (number == self.high and self.open in ("high", "both")))
        return not too_low and not too_high

    def _check_map(self, value: Any, sentence: str) -> tuple[tuple[str | int, float], ...]:
        entries = value.items() if isinstance(value, dict) else value
        if isinstance(entries, str) or not isinstance(entries, Iterable):
            raise UsageError(sentence)
        checked = []
        for entry in entries:
            if not isinstance(entry, Sequence) or isinstance(entry, str) or len(entry) != 2:
                raise UsageError(sentence)
            token, bias = entry
            if not _names_a_token(token):
                raise UsageError(sentence)
            number = bias if bias == -math.inf else _finite(bias)
            if number is None or (number != -math.inf and not self._holds(number)):
                raise UsageError(f"{sentence.split(' must')[0]}: the bias of {token!r} must be -inf or {self._interval()}, not {bias!r}.")
            checked.append((token, float(number)))
        return tuple(checked)


def _check_words(value: Any, sentence: str) -> tuple[str | int | tuple[int, ...], ...]:
    words = (value,) if isinstance(value, str | int) else value
    if not isinstance(words, list | tuple):
        raise UsageError(sentence)
    checked = tuple(tuple(word) if isinstance(word, list) else word for word in words)
    for word in checked:
        if isinstance(word, tuple):
            fits = word and all(isinstance(each, int) and _names_a_token(each) for each in word)
        else:
            fits = _names_a_token(word) and word != ""
        if not fits:
            raise UsageError(sentence)
    return checked


def _names_a_token(value: Any) -> bool:
    """Whether the value is a text, or a number that may be an id."""
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)


def _finite(value: Any) -> int | float | None:
    """The value where it is a number that a float can hold, or None; numpy's numbers are numbers too."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        number = value if isinstance(value, int) else float(value)
        return number if math.isfinite(number) else None
    except OverflowError:
        return None


def knob(kind: str, default: Any, help: str, **limits: Any) -> Any:
    """A dataclass field that is a stage's setting; `limits` are the other fields of `Knob`."""
    return dataclasses.field(default=default, metadata={"kind": kind, "help": help, "default": default, **limits})


def knobs(stage: type[Stage] | Stage) -> tuple[Knob, ...]:
    """The knobs of a stage, the first one first."""
    return tuple(Knob(name=field.name, **field.metadata) for field in dataclasses.fields(stage) if field.metadata)  # type: ignore[arg-type]


def changes(stage: Stage) -> bool:
    """Whether the stage may change anything: none of its knobs is neutral."""
    return not any(each.neutral is not None and getattr(stage, each.name) == each.neutral for each in knobs(stage))


def others_needed(stages: Iterable[tuple[str, Stage]]) -> int:
    """How many other prompts the model reads beside each text, at most."""
    return sum(getattr(stage, "needs", None) is not None for _, stage in stages)


@runtime_checkable
class Stage(Protocol):
    """What every stage offers.

    `place` is its standard place (lower comes first), `source` the paper or project it comes from.
    A stage may also have `aliases` (what else a person may call it), `bind(vocabulary) -> stage` (knobs
    given as text become ids) and `because(before, row, token_id) -> str` (the numbers by which a token
    was removed).

    A stage that learns from what was drawn has `drawn(token_id, logprob, memory)`: called after every
    draw, for every row, before the memory appends the token; `logprob` (nats) is that under the whole
    pipeline, -inf for a given token that the pipeline would not have drawn. What it learns it notes in
    the memory, `memory.note(self.slot, value)`, never in itself; when called, it may note what `drawn`
    will need of this step. `slot: int = 0` is a field that the
    pipeline sets to the stage's place, so that a stage standing twice has two notes.

    A stage that may take tokens back has `held(memory, step) -> int`, the first step that was not certain yet at `step`, and
    `rewind(memory) -> str | None`, asked after every token: it takes the memory back to the step to be
    drawn once more and says why. The strategy takes the model back, and the run tells nobody text that is held.
    Its `goes_back` says whether, bound, it ever does.

    `needs` is what a stage must be handed beside the candidates: the ids of another prompt, () for the last token of the sequence's
    own, or None; whoever runs the pipeline hands each memory the logits under it, with the output so far behind it
    (`memory.handed(self.needs)`). A stage without it needs nothing.

    `reads` promises what decides about a token, so that a replay can follow the stage where not all logits were recorded;
    of a stage without it nothing is claimed there. A token's new logit follows, for "scale", from the old one, times a positive
    number, the same for all tokens and always; for "token", from the old one, its id, the memory and the largest of
    all, and a larger one never ends up lower; for "name" it is the same without that order, and only named tokens change.
    "rank" says that the stage only removes tokens, and that the larger a token's logit and the fewer come before it (likelier ones, or
    as likely with a lower id), the sooner it stays; of all behind it only the sum of their weights counts, and while
    that grows, the answer changes once at most. What a stage that reads "token" notes follows from the drawn ids alone.
    """

    place: ClassVar[float]
    source: ClassVar[str]

    def __call__(self, candidates: Candidates, memories: Sequence[Memory]) -> Candidates:
        """Candidates after this stage; `memories` holds one sequence's memory per row.

        Never changes what it was handed, never revives a removed token, always leaves one.
        """
        ...


@cache
def spellings() -> dict[str, str]:
    """What a person may call the stages, names and aliases -> the stages' names."""
    found = {name: name for name in names("stages")}
    return found | {alias: name for name in found for alias in aliases(name)}


def aliases(name: str) -> tuple[str, ...]:
    """What else the stage of that name is called."""
    return tuple(getattr(find("stages", name), "aliases", ()))


def build(name: str, stage: type[Any], settings: dict[str, Any], label: str = "") -> Any:
    """A checked instance of a stage from its settings; raises `UsageError` that names stage.knob."""
    known = {each.name: each for each in knobs(stage)}
    checked = {}
    for key, value in settings.items():
        if key not in known:
            raise unknown(f"knob of {name}", key, known)
        # the first knob is spoken of by the stage's own name, as it is typed
        spoken = name if key == next(iter(known)) else f"{name}.{key}"
        checked[key] = known[key].check(value, label or spoken)
    return stage(**checked)
