"""Runs that go back: the embedded checkpoint under banned phrases that it wants to write."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from gencli.detokeniser import decode
from gencli.events import Event, Finished, Retracted, Token
from gencli.gathering import gathered
from gencli.generation import Options, run
from gencli.loading import Session, load
from gencli.observation import Detail
from gencli.preset import Preset
from gencli.scores import ScoredToken
from proofs import quick

STORY = "Once upon a time"


@pytest.fixture(scope="module")
def session() -> Session:
    return load()


def preset(words: list[str], more: str = "", tokens: int = 40) -> Preset:
    listed = ", ".join(f'"{word}"' for word in words)
    ban = f"  - banned_words: [{listed}]\n" if words else ""
    return Preset.loads(f"pipeline:\n{ban}  - temperature: 0.7\n{more}max_new_tokens: {tokens}\n")


def events_of(session: Session, preset: Preset, **options: object) -> list[Event]:
    return list(run(session, STORY, preset, Options(**{"seed": 1, **options})))  # type: ignore[arg-type]


def told(events: list[Event], sample: int = 0) -> str:
    return "".join(event.text for event in events if isinstance(event, Token | Finished) and event.sample == sample)


def ids_of(events: list[Event], sample: int = 0) -> list[int]:
    return gathered(events)[1][sample].ids


def wanted(session: Session, seed: int, count: int = 3) -> Iterator[str]:
    """Phrases of 9 to 14 characters that a run without bans writes."""
    text, noise = told(events_of(session, preset([]), seed=seed)), random.Random(seed)
    for _ in range(count):
        start, length = noise.randrange(len(text) - 14), noise.randint(9, 14)
        if "\n" not in (phrase := text[start : start + length]) and '"' not in phrase and "\\" not in phrase:
            yield phrase


@pytest.mark.parametrize("seed", quick([7, 0, 1, 2, 3, 4, 5, 6], 2))
def test_what_is_banned_is_never_written_and_nothing_told_is_taken_back(session: Session, seed: int) -> None:
    words = list(wanted(session, seed))
    events = events_of(session, preset(words), seed=seed)
    text = told(events)
    assert not any(word in text for word in words)
    assert any(isinstance(event, Retracted) for event in events)
    ids = ids_of(events)
    ends = session.vocabulary.end_ids
    assert text == decode(session.vocabulary, [token for token in ids if token not in ends])
    finished = next(event for event in events if isinstance(event, Finished))
    assert finished.new_tokens == len(ids)


def test_a_step_is_drawn_once_more_and_later_steps_with_it(session: Session) -> None:
    events = events_of(session, preset(list(wanted(session, 3))), seed=3)
    step = 0
    for event in events:
        if isinstance(event, Token):
            assert event.step == step
            step += 1
        elif isinstance(event, Retracted):
            assert event.to_step < step
            assert event.reason.startswith("banned_words: ")
            step = event.to_step


def test_a_sample_alone_is_that_sample_in_the_batch(session: Session) -> None:
    words = [*wanted(session, 1), *wanted(session, 2)]
    together = events_of(session, preset(words), samples=4)
    assert sum(isinstance(event, Retracted) for event in together) >= 2
    for sample in range(4):
        alone = events_of(session, preset(words), first_sample=sample)
        assert ids_of(together, sample) == gathered(alone)[1][0].ids
        assert told(together, sample) == told(alone, sample)


@pytest.mark.parametrize("options", [{"cache": False}, {"detail": Detail()}])
def test_neither_cache_nor_trace_changes_it(session: Session, options: dict[str, object]) -> None:
    words = preset(list(wanted(session, 5)))
    assert ids_of(events_of(session, words, seed=5, **options)) == ids_of(events_of(session, words, seed=5))


def test_it_begins_anew_where_even_the_first_token_goes(session: Session) -> None:
    """From a prompt of one token the decoder goes back to nothing."""
    prompt = session.vocabulary.encode("Once")[:1]
    greedy = "pipeline:\n  - temperature: 0\n  - top_k: 0\nmax_new_tokens: 12\n"
    phrase = told(list(run(session, prompt, Preset.loads(greedy), Options(seed=1))))[:9]
    banning = greedy.replace("  - temperature", f'  - banned_words: ["{phrase}"]\n  - temperature')
    events = list(run(session, prompt, Preset.loads(banning), Options(seed=1)))
    assert any(isinstance(event, Retracted) and event.to_step == 0 for event in events)
    assert phrase not in told(events)


@pytest.mark.parametrize("tokens", range(1, 12))
def test_a_text_may_end_in_the_middle_of_a_phrase(session: Session, tokens: int) -> None:
    """Held text is told at the end, whatever ends it; a stop string within it is still found."""
    free = told(events_of(session, preset([], tokens=tokens)))
    phrase = told(events_of(session, preset([], tokens=tokens + 1)))[-12:]
    if "\n" not in phrase and '"' not in phrase and len(phrase) == 12 and phrase not in free:
        assert told(events_of(session, preset([phrase], tokens=tokens))) == free
        stopped = events_of(session, preset([phrase], more=f'stop: ["{free[-3:]}"]\n', tokens=tokens))
        assert told(stopped) == free[: free.index(free[-3:])]


def test_what_stages_learned_goes_back_too(session: Session) -> None:
    """mirostat after a retreat stands where one stands that only ever saw the tokens that stayed."""
    words = list(wanted(session, 2))
    listed = ", ".join(f'"{word}"' for word in words)
    both = Preset.loads(f"pipeline:\n  - banned_words: [{listed}]\n  - mirostat: 3\nmax_new_tokens: 40\n")
    events = events_of(session, both, seed=2, detail=Detail(logits=False))
    limit, limits = 6.0, {}
    for event in events:
        if isinstance(event, Retracted):
            limit = limits[event.to_step]
        elif isinstance(event, Token):
            limits[event.step] = limit
            assert event.stages is not None
            assert event.logprob is not None
            surprises = [event.stages[-1].kept == 1, -event.logprob / 0.6931471805599453 <= limit + 1e-3]
            assert any(surprises)  # nothing beyond the limit that these tokens lead to
            limit -= 0.1 * (-event.logprob / 0.6931471805599453 - 3)


def test_a_score_says_what_would_have_been_taken_back(session: Session) -> None:
    from gencli.scoring import score

    banning = Preset.loads('pipeline:\n  - banned_words: ["little girl"]\n')
    tokens: list[ScoredToken] = []
    score(session, " there was a little girl.", banning, prompt=STORY, told=tokens.append)
    blocked = [token for token in tokens if token.removed_by]
    assert [(token.text, token.removed_by) for token in blocked] == [(" girl", "banned_words")]
    assert blocked[0].because == 'banned_words: "little girl" was complete'


def test_a_replay_goes_back_where_the_run_did(session: Session) -> None:
    from gencli.replay import replay_trace

    events = events_of(session, preset(list(wanted(session, 3))), seed=3, detail=Detail(logits=True))
    replayed = list(replay_trace(events, vocabulary=session.vocabulary))
    assert [each.recorded_id for each in replayed] == [event.id for event in events if isinstance(event, Token)]
    assert all(each.id == each.recorded_id for each in replayed)
    assert any(isinstance(event, Retracted) for event in events)


def test_json_and_bars_tell_what_stayed(session: Session, capfd: pytest.CaptureFixture[str]) -> None:
    import json

    from gencli.renderers.bars import Bars
    from gencli.renderers.json import Json
    from gencli.terminal import Messages, Output

    events = events_of(session, preset(list(wanted(session, 3))), seed=3, detail=Detail())
    output, messages = Output(), Messages()
    renderers = [Json(output, tokens=True), Bars("each", messages, output)]
    for renderer in renderers:
        for event in events:
            renderer.show(event)
        renderer.close()
    out, err = capfd.readouterr()
    (sample,) = json.loads(out)["samples"]
    assert sample["ids"] == ids_of(events) == [token["id"] for token in sample["tokens"]]
    assert sample["text"] == told(events)
    assert [token["step"] for token in sample["tokens"]] == list(range(40))
    backs = [event for event in events if isinstance(event, Retracted)]
    assert err.count("back to step ") == len(backs) > 0
