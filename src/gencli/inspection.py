"""What `gencli inspect-probs` stands on: distributions step by step, and what other orders of the stages would keep. Knows no terminal."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gencli.candidates import Candidates
from gencli.detokeniser import Detokeniser
from gencli.drawing import draw
from gencli.errors import RunError, UsageError
from gencli.events import Token
from gencli.generation import LARGEST_SEED, fitting_ids, vocabulary_of
from gencli.memory import Memory
from gencli.observation import BITS, Detail, observe
from gencli.pipeline import Pipeline

if TYPE_CHECKING:
    from gencli.loading import Session
    from gencli.preset import Preset
    from gencli.prompting import Prompt

MOST_STAGES = 6  # whose orders, 720, are all tried
SAME = 1e-6  # probabilities that differ by less are those of one result


@dataclass(frozen=True)
class Inspected:
    """One step: its token with candidates and stages; the variance of the surprisal (bits squared), raw and after every stage."""

    token: Token
    varentropies: tuple[float, ...]


@dataclass(frozen=True)
class Outcome:
    """What some orders of the stages leave of the next token: `kept` tokens of `mass` (raw probability), their entropy in bits.

    `own` tells that the preset's own order, then the first one, is among them.
    """

    orders: tuple[tuple[str, ...], ...]
    kept: int
    mass: float
    entropy: float
    own: bool


def inspect(
    session: Session,
    prompt: Prompt,
    preset: Preset,
    detail: Detail,
    *,
    steps: int = 1,
    along: str | Sequence[int] = "greedy",
    seed: int | None = None,
) -> Iterator[Inspected]:
    """The distribution at each of `steps` steps, along "greedy" (the pipeline's likeliest token), "sampled" or given token ids.

    Sampled tokens are those of a run with this seed. Greedy and sampled paths end with an end token,
    given ones with their last. Raises what `run` raises, and `UsageError` for several steps, not given, under
    a stage that takes tokens back.
    """
    prompt_ids, _ = fitting_ids(session, prompt, "error")
    vocabulary = vocabulary_of(session, preset)
    pipeline = Pipeline(preset.stages()).bind(vocabulary)
    if steps > 1 and isinstance(along, str):
        pipeline.forward_only("steps that are inspected only go on", "give their --text, or see them with `gencli generate --bars each`")
    memory = Memory(prompt_ids, secrets.randbelow(LARGEST_SEED + 1) if seed is None else seed)
    detokeniser = Detokeniser(vocabulary, at_start=not prompt.text)
    decoder, companions = session.decoder(), session.companions(pipeline)
    logits = decoder.prefill(prompt_ids)
    for step in range(steps if isinstance(along, str) else min(steps, len(along))):
        assert logits is not None  # nothing interrupts it
        companions.hand([memory])
        passed = pipeline.traced(Candidates(logits), [memory])
        token = _next(passed[-1], memory, step, along)
        measures = observe(passed, 0, token, pipeline, vocabulary, detail)
        pipeline.drawn(passed[-1], [token], [memory])
        memory.append(token)
        event = Token(0, step, token, detokeniser.push(token), vocabulary.token_bytes[token], **measures)
        yield Inspected(event, tuple(varentropy(each) for each in passed))
        if step + 1 == steps or (isinstance(along, str) and token in vocabulary.end_ids):
            return
        logits = decoder.step([token])


def _next(final: Candidates, memory: Memory, step: int, along: str | Sequence[int]) -> int:
    if not isinstance(along, str):
        return along[step]
    drawn = draw(final, [memory.uniform()], step)[0]  # also where it is not taken: it tells of NaN
    return drawn if along == "sampled" else int(final.top(1).token_ids()[0, 0])


def varentropy(candidates: Candidates, row: int = 0) -> float:
    """The variance of the surprisal of a row's distribution, in bits squared: 0 where all are equally likely."""
    weights, total = candidates.weights[row].double(), candidates.total[row]
    surprisals = (candidates.log_total[row] - candidates.logits[row].double()).masked_fill(weights == 0, 0)
    mean = float((weights * surprisals).sum() / total)
    return float((weights * (surprisals - mean) ** 2).sum() / total) * BITS**2


def orders(session: Session, prompt: Prompt, preset: Preset, seed: int = 0) -> list[Outcome]:
    """What every order of the preset's stages would leave of the next token; orders with one result are one outcome, the own first.

    Raises `UsageError` where there are more than six stages.
    """
    if len(preset.pipeline) > MOST_STAGES:
        raise UsageError(
            f"the pipeline has {len(preset.pipeline)} stages, and orders are tried for at most {MOST_STAGES}; "
            "keep fewer with --pipeline, in the order that is yours."
        )
    prompt_ids, _ = fitting_ids(session, prompt, "error")
    pipeline = Pipeline(preset.stages()).bind(vocabulary_of(session, preset))
    logits = session.decoder(room=len(prompt_ids)).prefill(prompt_ids)
    assert logits is not None  # nothing interrupts it
    raw = Candidates(logits)
    if not bool(raw.peak.isfinite().all()):
        raise RunError("the logits are not numbers (NaN) or infinite; the checkpoint is damaged or its precision too low.")
    names, found, memory = _numbered(pipeline.names), list[tuple[list[tuple[int, ...]], Candidates]](), Memory(prompt_ids, seed)
    session.companions(pipeline, new=1).hand([memory])
    for order, final in _every_order(pipeline, raw, memory, ()):
        equal = next((group for group in found if _same(group[1], final)), None)
        if equal is None:
            found.append(([order], final))
        else:
            equal[0].append(order)
    own = tuple(range(len(names)))
    outcomes = [_outcome(group, final, raw, names, own) for group, final in found]
    return sorted(outcomes, key=lambda outcome: (not outcome.own, -len(outcome.orders)))


def _every_order(
    pipeline: Pipeline, candidates: Candidates, memory: Memory, done: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], Candidates]]:
    """Every order of the stages that begins with those done, and what it leaves; what orders have in common is computed once."""
    left = [at for at in range(len(pipeline.stages)) if at not in done]
    if not left:
        yield done, candidates
    for at in left:
        yield from _every_order(pipeline, pipeline.stages[at](candidates, [memory]), memory, (*done, at))


def _alive(candidates: Candidates) -> tuple[Tensor, Tensor]:
    inside = candidates.logits[0] > -torch.inf
    return candidates.token_ids()[0][inside], candidates.probs()[0][inside]


def _same(one: Candidates, other: Candidates) -> bool:
    (ids, probs), (other_ids, other_probs) = _alive(one), _alive(other)
    return torch.equal(ids, other_ids) and bool(((probs - other_probs).abs() <= SAME).all())


def _outcome(group: Sequence[tuple[int, ...]], final: Candidates, raw: Candidates, names: Sequence[str], own: tuple[int, ...]) -> Outcome:
    ids, probs = _alive(final)
    entropy = float(-(probs * probs.log()).nan_to_num(0).sum()) * BITS
    ordered = sorted(group, key=lambda order: (order != own, order))
    texts = tuple(tuple(names[at] for at in order) for order in ordered)
    mass = min(1.0, float(raw.probs()[0, ids].sum()))
    return Outcome(tuple(dict.fromkeys(texts)), len(ids), mass, max(0.0, entropy), own in group)


def _numbered(names: Sequence[str]) -> list[str]:
    """Names, with their number where one stands several times: top_p#2."""
    return [f"{name}#{names[: at + 1].count(name)}" if names.count(name) > 1 else name for at, name in enumerate(names)]
