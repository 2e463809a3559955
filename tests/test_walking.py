"""Along a given text: exact windows, exact measures, and a verdict that equals enumeration."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from gencli import walking
from gencli.candidates import Candidates
from gencli.errors import RunError
from gencli.generation import Options, run
from gencli.loading import load
from gencli.memory import DRAW, Memory
from gencli.pipeline import Pipeline
from gencli.preset import Preset
from gencli.walking import LEAST, ROUNDING, GivenText, Judge, Walk, scored
from pipelines import random_preset, tiny_session
from proofs import quick

SIZE, LENGTH = 6, 4
PROMPT = (1, 2)


def judged(session, preset, given):
    """The tokens of a text, each judged by a preset's pipeline."""
    walk = Walk(session, given)
    return scored(walk, Judge(Pipeline(preset.stages()).bind(session.vocabulary), walk))


class Coins(Memory):
    """A memory all of whose coins show one side."""

    side = 0.0

    def uniform(self, purpose: int = DRAW, index: int = 0) -> float:
        return self.side


def probabilities(pipeline, rows, ids, nudged=None):
    """The slow way, for every token after `ids`: the pipeline over all steps anew, and the likelier of the coins' sides at the last."""
    memory = Coins(PROMPT)
    for at, given in enumerate(ids):
        raw = Candidates(rows[:at])
        finals = [_with_side(pipeline, raw, memory, side) for side in (1 - LEAST, 0.0)]
        final = next((each for each in finals if each.probability(0, given) >= LEAST), finals[0])
        pipeline.drawn(final, [given], [memory])
        memory.append(given)
    raw = Candidates(rows[: len(ids)] if nudged is None else nudged)
    finals = [_with_side(pipeline, raw, memory, side) for side in (1 - LEAST, 0.0)]
    return [max(each.probability(0, token) for each in finals) for token in range(SIZE)]


def _with_side(pipeline, raw, memory, side):
    memory.side = side
    final = pipeline(raw, [memory])
    memory.side = 1 - LEAST
    return final


class Rows:
    """The raw logits after every prefix of `ids`, each computed by itself; `rows[:n]` is the one after n of them."""

    def __init__(self, session):
        self.session, self.ids, self.known = session, (), {}

    def __getitem__(self, part):
        ids = self.ids[: part.stop]
        if ids not in self.known:
            self.known[ids] = self.session.decoder().prefill([*PROMPT, *ids])
        return self.known[ids]

    def nudged(self, token, by):
        logits = self[: len(self.ids)].clone()
        logits[0, token] += by
        return logits


def enumerated(session, pipeline):
    """Every text of four tokens that the pipeline can produce, prefix by prefix; and with them those that only rounding keeps away."""
    sure, near, rows = {()}, {()}, Rows(session)
    for _ in range(LENGTH):
        longer, longer_near = set(), set()
        for ids in near:
            rows.ids = ids
            for token, found in enumerate(probabilities(pipeline, rows, ids)):
                if found >= LEAST:
                    longer |= {(*ids, token)} if ids in sure else set()
                    longer_near.add((*ids, token))
                elif any(probabilities(pipeline, rows, ids, rows.nudged(token, by))[token] >= LEAST for by in (ROUNDING, -ROUNDING)):
                    longer_near.add((*ids, token))
        sure, near = longer, longer_near
    return sure, near


def lets_through(session, preset, ids):
    return all(token.removed_by is None for token in judged(session, preset, GivenText(PROMPT, ids, 1)))


def reached(session, preset, every_text):
    """The texts of four tokens that get through; else only those are asked whose beginning did."""
    if every_text:
        return {ids for ids in itertools.product(range(SIZE), repeat=LENGTH) if lets_through(session, preset, ids)}
    found = {()}
    for _ in range(LENGTH):
        found = {(*ids, token) for ids in found for token in range(SIZE) if lets_through(session, preset, (*ids, token))}
    return found


def check_enumeration(seed, every_text):
    session, preset = tiny_session(SIZE, seed=seed % 3), random_preset(seed, SIZE)
    sure, near = enumerated(session, Pipeline(preset.stages()).bind(session.vocabulary))
    found = reached(session, preset, every_text)
    assert sure <= found <= near, preset
    assert found


@pytest.mark.parametrize("seed", [0, pytest.param(4, marks=pytest.mark.slow), 5])
def test_what_is_reached_is_what_enumeration_finds(seed):
    check_enumeration(seed, every_text=False)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_every_text_is_reached_that_enumeration_finds_and_no_other(seed):
    check_enumeration(seed, every_text=True)


@pytest.mark.parametrize("seed", range(25))
def test_what_a_run_wrote_is_always_reachable(seed):
    session, preset = tiny_session(40, context=24, seed=1), random_preset(seed, 40, max_new_tokens=30)
    events = list(run_tiny(session, preset, seed))
    ids = tuple(events)
    assert all(token.removed_by is None for token in judged(session, preset, GivenText((1, 2, 3), ids, 1)))


def run_tiny(session, preset, seed):
    """The tokens of a run whose window slides, by the strategy that `generate` asks."""
    from gencli.registry import find

    decoder = session.decoder(overflow="slide")
    memories = [Memory([1, 2, 3], seed)]
    pipeline = Pipeline(preset.stages()).bind(session.vocabulary)
    strategy = find("strategies", "sample")(decoder, pipeline, memories, decoder.prefill([1, 2, 3]))
    for _ in range(30):
        yield strategy.step().ids[0]


@pytest.mark.parametrize("preset", quick(["creative", "code", "chat", "factual", "greedy", "brainstorm"], 2))
def test_what_the_shipped_presets_wrote_is_reachable(preset):
    session, preset = load(), Preset.load(preset)
    started, *events = itertools.islice(run(session, "The dragon said", preset, Options(seed=5)), 60)
    ids = tuple(event.id for event in events if event.event == "token")
    given = GivenText(started.prompt_ids, ids, 1)
    assert all(token.removed_by is None for token in judged(session, preset, given))


@pytest.mark.parametrize("length", [5, 12, 13, 14, 40])
@pytest.mark.parametrize("keeps", [True, False])
def test_windows_equal_a_slow_exact_computation(length, keeps, monkeypatch):
    session = tiny_session(20, context=12, seed=2)
    ids = [7 * at % 19 for at in range(length)]
    monkeypatch.setattr(walking, "HELD", 1 << 26 if keeps or length % 2 else 0)
    walk = Walk(session, GivenText((3,), tuple(ids), length), once=not keeps)
    for _ in range(2):  # held or computed again
        tokens = list(scored(walk))
        assert [token.id for token in tokens] == ids
        for place, token in enumerate(tokens):
            before = [3, *ids[:place]]
            windows = [before[start:] for start in range(len(before)) if len(before) - start <= 12]
            # grown from half a context to a whole one, then half a context again
            size = len(before) if len(before) <= 12 else 6 + (len(before) - 13) % 7
            (window,) = [each for each in windows if len(each) == size]
            expected = session.model(torch.tensor([window]))[0, -1].double().log_softmax(0)
            probabilities = expected.exp()
            assert token.raw_logprob == pytest.approx(float(expected[token.id]), abs=1e-5)
            assert token.surprisal == pytest.approx(-float(expected[token.id]) / math.log(2), abs=1e-5)
            assert token.rank == 1 + int((expected > expected[token.id] + 1e-9).sum())
            bits = -expected / math.log(2)
            entropy = float((probabilities * bits).sum())
            assert token.raw_entropy == pytest.approx(entropy, abs=1e-4)
            assert token.varentropy == pytest.approx(float((probabilities * (bits - entropy) ** 2).sum()), abs=1e-3)


def test_every_token_but_the_first_ones_has_half_a_context_before_it():
    session = tiny_session(20, context=12)
    sizes = [len(range(session.decoder(overflow="slide")._start(length), length)) for length in range(13, 200)]
    assert min(sizes) == 6
    assert max(sizes) == 12


def test_who_blocks_and_why():
    session = tiny_session(6)
    preset = Preset.loads("pipeline: [{top_k: 2}, {temperature: 0}]")
    tokens = [next(judged(session, preset, GivenText(PROMPT, (token,), 1))) for token in range(6)]
    by_rank = sorted(tokens, key=lambda token: token.rank)
    assert [token.removed_by for token in by_rank] == [None, "temperature", *["top_k"] * 4]
    assert [token.removed_at for token in by_rank] == [None, 1, 0, 0, 0, 0]
    assert by_rank[0].logprob == 0.0
    assert by_rank[1].because == "temperature 0 keeps only the likeliest token"
    assert by_rank[3].because == "rank 4 > 2"


def test_what_no_draw_can_hit_is_blocked_by_whoever_made_it_so():
    session = tiny_session(6)
    preset = Preset.loads("pipeline: [{temperature: 0.01}, {top_p: 1}]")
    tokens = [next(judged(session, preset, GivenText(PROMPT, (token,), 1))) for token in range(6)]
    last = max(tokens, key=lambda token: token.rank)
    assert (last.removed_by, last.removed_at, last.logprob) == ("temperature", 0, None)
    assert last.because.endswith("is less than a draw can hit (1.11e-16)")


def test_logits_that_are_no_numbers_are_an_error():
    session = tiny_session(6)
    session.model = lambda ids, cache=None, last=False: torch.full((1, ids.shape[1], 6), math.nan)
    for name in ("context", "vocab_size", "layers", "kv_heads", "head_dim", "horizon"):
        setattr(session.model, name, getattr(tiny_session(6).model, name))
    session.model.device = torch.device("cpu")
    with pytest.raises(RunError, match="not numbers"):
        list(scored(Walk(session, GivenText(PROMPT, (1, 2), 2))))
