"""What another preset, order or seed would have drawn along a recorded run. Knows no model and no terminal.

Every step is decided anew from its recorded logits, after the recorded tokens that came before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

from gencli.errors import GencliError, RunError, UsageError, shown
from gencli.events import Event, Logits, Retracted, Started, Token
from gencli.memory import DRAW, Memory
from gencli.outcomes import Outcome, outcome
from gencli.pipeline import Pipeline
from gencli.preset import Preset
from gencli.stages import changes
from gencli.trace import Trace
from gencli.unrecorded import Record
from gencli.vocabulary import Vocabulary

LARGEST_SEED = 2**63 - 1
LARGEST_ID = 2**31 - 1
MOST_SAMPLES = 1 << 16


@dataclass(frozen=True)
class Replayed:
    """One step: `recorded_id` was drawn then, `id` is drawn now; their texts where they are known.

    `decided` is False where the answer depends on tokens whose logits the trace does not hold; `id` is
    then the token drawn if none of those is in play (None: nothing else is). `recorded_prob` and `prob` are bounds, lowest and
    highest, of the two tokens' probabilities under the pipeline of now, `unrecorded` is the highest
    probability that tokens without recorded logits may have together.
    """

    sample: int
    step: int
    recorded_id: int
    id: int | None
    decided: bool
    recorded_text: str
    text: str | None
    recorded_prob: tuple[float, float]
    prob: tuple[float, float]
    unrecorded: float

    @property
    def same(self) -> bool:
        """Whether the recorded token is certainly drawn again."""
        return self.decided and self.id == self.recorded_id


def replay_trace(
    trace: Trace | Iterable[Event], preset: Preset | None = None, seed: int | None = None, vocabulary: Vocabulary | None = None
) -> Iterator[Replayed]:
    """Every recorded step under `preset` and `seed` (None: those of the trace), in the order of the trace.

    `vocabulary` is the checkpoint's, for knobs given as text. Raises `RunError` for a trace that cannot
    be replayed, `UsageError` for a preset that asks for what the trace lacks.
    """
    if seed is not None and not 0 <= seed <= LARGEST_SEED:
        raise UsageError(f"seed must lie in 0 .. {LARGEST_SEED}, not {seed}.")
    plan: _Plan | None = None
    walks: dict[int, _Walk] = {}
    for event in trace.events if isinstance(trace, Trace) else trace:
        if isinstance(event, Started):
            plan, walks = _Plan(event, preset, seed, vocabulary), {}
        elif isinstance(event, Token):
            if plan is None:
                raise RunError("the trace holds a token before the start of its run.")
            if event.sample not in walks:
                walks[event.sample] = _Walk(plan, event.sample)
            yield walks[event.sample].step(event)
        elif isinstance(event, Retracted) and event.sample in walks:
            walks[event.sample].retract(event.to_step)
    if plan is None:
        raise RunError("the trace holds no start of a run.")


def check_start(started: Started) -> None:
    """Raises `RunError` where no run of ours can have begun like this."""
    if not started.prompt_ids or not all(0 <= each <= LARGEST_ID for each in started.prompt_ids):
        raise RunError(f"the trace's prompt_ids must be one or more token ids from 0 to {LARGEST_ID}.")
    for name, value, low, high in (
        ("seed", started.seed, 0, LARGEST_SEED),
        ("first_sample", started.first_sample, 0, LARGEST_SEED),
        ("samples", started.samples, 1, MOST_SAMPLES),
    ):
        if not low <= value <= high:
            raise RunError(f"the trace's {name} must lie in {low} .. {high}, not {shown(value)}.")


def recorded_preset(started: Started) -> Preset:
    """The preset that a trace was recorded with; raises `RunError` where the trace does not hold one."""
    try:
        return Preset.from_dict(started.preset)
    except UsageError as error:
        raise RunError(f"the trace's preset does not hold: {error}") from None


class _Plan:
    """A replay that was checked: both pipelines, bound, and what they start from."""

    def __init__(self, started: Started, preset: Preset | None, seed: int | None, vocabulary: Vocabulary | None) -> None:
        check_start(started)
        recorded = recorded_preset(started)
        self.recorded = _bound(recorded, vocabulary)
        self.pipeline = self.recorded if preset is None else _bound(preset, vocabulary)
        self.prompt_ids = started.prompt_ids
        self.same_seed = seed is None or seed == started.seed
        self.seed = started.seed if seed is None else seed
        self.vocabulary = vocabulary
        self.texts: dict[int, str] = {}
        count = len(self.recorded.stages)
        self.after = self.pipeline.stages[count:]  # not a pipeline of its own: stages note under their place in this one
        # what comes after all of the recorded stages goes on from their recorded end, unless those learn from what comes after them
        begins = self.pipeline.stages[:count] == self.recorded.stages and self.pipeline.names[:count] == self.recorded.names
        self.goes_on = begins and not (self.after and _learns(self.recorded))
        self.head = self._shared_head()
        self._refuse_what_needs_the_model(count if self.goes_on else self.head)
        self.listens = _learns(self.pipeline)  # what such a stage notes is known only where probabilities are

    def _shared_head(self) -> int:
        """How many stages at the beginning, recorded and now, asked the model for more, and are all that do."""
        count, recorded, now = self.recorded.head, self.recorded, self.pipeline
        same = now.stages[:count] == recorded.stages[:count] and now.names[:count] == recorded.names[:count]
        return count if same and now.head == count else 0

    def _refuse_what_needs_the_model(self, start: int) -> None:
        """Raises `UsageError` for a stage from that place on that asks for what no trace keeps."""
        for name, stage in zip(self.pipeline.names[start:], self.pipeline.stages[start:], strict=True):
            if getattr(stage, "needs", None) is not None:
                raise UsageError(
                    f"{name} asks the model twice at every step, and a trace keeps what it made of that: a replay needs it as it was "
                    "recorded, at the beginning; or leave it out, or write anew with `gencli generate`."
                )

    def text(self, token_id: int) -> str | None:
        """A token's text, as far as it is known."""
        if self.vocabulary is not None and token_id < self.vocabulary.size:
            return self.vocabulary.text(token_id)
        return self.texts.get(token_id)


def _learns(pipeline: Pipeline) -> bool:
    """Whether a stage notes more than what follows from the drawn ids: their probabilities under the whole pipeline."""
    return any(hasattr(each, "drawn") and changes(each) and getattr(each, "reads", "") != "token" for each in pipeline.stages)


def _bound(preset: Preset, vocabulary: Vocabulary | None) -> Pipeline:
    """The preset's stages, those bound that were not bound when they were recorded."""
    stages = []
    for settings in preset.pipeline:
        stage = settings.build()
        if settings.bound is None and hasattr(stage, "bind") and vocabulary is None:
            raise UsageError(f"{settings.stage} needs the checkpoint's tokens, and the trace's checkpoint is not there; name one.")
        # what takes tokens back reads texts, which no trace keeps
        if vocabulary is not None and hasattr(stage, "bind") and (settings.bound is None or hasattr(stage, "rewind")):
            stage = stage.bind(vocabulary)
        stages.append((settings.stage, stage))
    return Pipeline(stages)


class _Listening(Memory):
    """A memory that notices when a stage tosses a coin of its own."""

    __slots__ = ("tossed",)

    def __init__(self, prompt_ids: Sequence[int], seed: int, sample: int) -> None:
        super().__init__(prompt_ids, seed, sample)
        self.tossed = False

    def uniform(self, purpose: int = DRAW, index: int = 0) -> float:
        self.tossed = self.tossed or purpose != DRAW
        return super().uniform(purpose, index)


class _Walk:
    """One sample, token by token."""

    def __init__(self, plan: _Plan, sample: int) -> None:
        if not 0 <= sample <= LARGEST_SEED:
            raise RunError(f"the number of a sample must lie in 0 .. {LARGEST_SEED}, not {str(sample)[:40]}.")
        self.plan = plan
        self.sample = sample
        self.memory = _Listening(plan.prompt_ids, plan.seed, sample)
        self.certain = True  # what stages noted so far is what they would have noted

    def step(self, token: Token) -> Replayed:
        """Decide one step anew, then go on with the recorded token."""
        plan, record = self.plan, self._record(token, token.logits)
        start = self._record(token, token.logits and token.logits.guided) if plan.head else record
        for candidate in token.candidates or ():
            plan.texts.setdefault(candidate.id, candidate.text)
        recorded_text = plan.texts.setdefault(token.id, token.bytes.decode("utf-8", "replace"))
        now = self._outcome_of(record, start, token.step)
        token_id, certain = now.drawn(self.memory.uniform(), self.memory.step)
        recorded_prob = now.prob(token.id)
        if plan.listens and not now.exact:
            self.certain = False  # from here on the stages may have noted something else
        plan.pipeline.drawn(now.sure or record.survivors, [token.id], [self.memory])
        self.memory.append(token.id)
        return Replayed(
            sample=self.sample,
            step=token.step,
            recorded_id=token.id,
            id=token_id,
            decided=certain,
            recorded_text=recorded_text,
            text=None if token_id is None else plan.text(token_id),
            recorded_prob=recorded_prob,
            prob=now.prob(token_id),
            unrecorded=now.unrecorded,
        )

    def retract(self, to_step: int) -> None:
        """Go back to where the recorded run went, and let the stages that take tokens back ban what they did."""
        if not 0 <= to_step <= self.memory.step:
            raise RunError(f"the trace, sample {self.sample}: it goes back to step {str(to_step)[:40]} from step {self.memory.step}.")
        plan = self.plan
        if not plan.goes_on and plan.pipeline.rewinds and plan.vocabulary is None:
            self.certain = False  # without texts no stage knows what it banned
        plan.pipeline.rewind(self.memory)
        self.memory.rewind(min(to_step, self.memory.step))

    def _record(self, token: Token, logits: Logits | None) -> Record:
        where = f"the trace, sample {self.sample}, step {str(token.step)[:40]}"
        if token.step != self.memory.step:
            raise RunError(f"{where}: step {self.memory.step} is missing.")
        if logits is None:
            raise RunError(f"{where}: no logits were recorded; a trace that `gencli generate --trace` writes holds them.")
        try:
            record = Record.of(logits)
        except ValueError as error:
            raise RunError(f"{where}: its logits cannot be used: {error}.") from None
        if not 0 <= token.id < record.size or max(self.memory.ids) >= record.size:
            raise RunError(f"{where}: a token id lies outside of the vocabulary (0 to {record.size - 1}).")
        return record

    def _outcome_of(self, record: Record, start: Record, step: int) -> Outcome:
        try:
            found = self._outcome(record, start)
            return found if self.certain else found.unclaimed()
        except GencliError:
            raise
        except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError) as error:
            # a stage was bound by the trace, and whoever wrote it may have written anything
            told = f"{type(error).__name__}: {shown(str(error))}"
            raise RunError(f"the pipeline cannot be run on step {step} of the trace ({told}).") from error

    def _outcome(self, record: Record, start: Record) -> Outcome:
        """Everything that may be in play at the end of this step, as far as the record tells; `start` is it after the plan's head."""
        if self.plan.goes_on and (self.plan.same_seed or not self._tosses(record)):
            return Outcome(reduce(lambda final, stage: stage(final, [self.memory]), self.plan.after, record.survivors))
        if self.plan.pipeline.needs and not self.plan.head:
            return Outcome(None)
        return outcome(start, self.plan.pipeline, [self.memory], self.plan.head)

    def _tosses(self, record: Record) -> bool:
        """Whether the recorded pipeline decided something by a coin of its own, which another seed tosses anew."""
        self.memory.tossed = False
        for prompt in self.plan.recorded.needs:  # which logits it sees makes no difference to whether a coin falls
            self.memory.hand(prompt, record.example.logits[0])
        self.plan.recorded(record.example, [self.memory])
        return self.memory.tossed
