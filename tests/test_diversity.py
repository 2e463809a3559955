"""Surveys on the embedded checkpoint: batches, noise, templates, and figures that are those of the texts."""

from __future__ import annotations

import json

import jsonschema
import pytest

from gencli import diversity
from gencli.diversity import Survey, rows_at_once, survey
from gencli.errors import UsageError
from gencli.events import Token
from gencli.generation import Options, run
from gencli.loading import load
from gencli.preset import Preset, Value
from gencli.schema import report_schema
from gencli.settings import Given
from gencli.variations import Variation, variations

PROMPT = "Once upon a time"


@pytest.fixture(scope="module")
def session():
    return load(threads=1)


def settings_of(*sets, tokens=6, presets=()):
    found = variations(Given(sets=[Value(text, "flag --set") for text in sets]), presets)
    return [Variation(each.name, each.preset.with_default("max_new_tokens", tokens), each.varied) for each in found]


def test_a_survey_counts_what_its_texts_say(session):
    found = survey(session, PROMPT, settings_of("temperature=0,1"), Options(samples=10, seed=3))
    cold, warm = found.settings
    assert (found.seed, found.samples, found.prompt) == (3, 10, PROMPT)
    assert (cold.name, cold.pipeline, cold.varied) == ("temperature=0", "temperature: 0.0", {"temperature": "0"})
    assert cold.variety.unique.value == 0.1
    assert cold.variety.entropy.value == 0.0
    assert warm.variety.unique.value == len({each.text for each in warm.texts}) / 10
    assert [each.sample for each in warm.texts] == list(range(10))
    assert warm.variety.entropy.value > 1
    assert sum(warm.variety.endings.values()) == 10


def test_texts_and_entropy_are_those_of_the_samples_run_alone(session, monkeypatch):
    monkeypatch.setattr(diversity, "MOST_ROWS", 3)  # batches of 3, 3 and 1
    (setting,) = settings_of("top_k=5", tokens=8)
    (found,) = survey(session, PROMPT, [setting], Options(samples=7, first_sample=2, seed=3)).settings
    bits = []
    for text in found.texts:
        alone = list(run(session, PROMPT, setting.preset, Options(seed=3, first_sample=text.sample, entropy=True)))
        assert "".join(event.text for event in alone[1:]) == text.text
        bits += [event.entropy for event in alone if isinstance(event, Token)]
    assert [text.sample for text in found.texts] == list(range(2, 9))
    assert found.variety.entropy.value == pytest.approx(sum(bits) / len(bits), abs=1e-5)
    assert found.variety.tokens == len(bits)


def test_memory_bounds_a_batch(session, monkeypatch):
    assert rows_at_once(session, 60) == 163
    assert rows_at_once(session, 20) == 256
    assert rows_at_once(session, 10**6) == rows_at_once(session, session.context)  # what slides out takes no memory
    monkeypatch.setattr(diversity, "BATCH_BYTES", 1)
    assert rows_at_once(session, 60) == 1


def test_progress_grows_to_the_whole(session):
    told = []
    survey(session, PROMPT, settings_of("temperature=0,1", tokens=3), Options(samples=2, seed=1), lambda *args: told.append(args))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert list(dict.fromkeys(name for _, name in told)) == ["temperature=0", "temperature=1"]


def test_a_template_is_laid_around_the_prompt(session):
    (setting,) = settings_of(presets=["chat"], tokens=4)
    (found,) = survey(session, "Hi", [setting], Options(samples=1, seed=1)).settings
    whole = run(session, "<|user|>\nHi\n<|assistant|>\n", setting.preset, Options(seed=1))
    assert "".join(event.text for event in whole if isinstance(event, Token)) != found.texts[0].text  # typed, it is no special token
    assert found.preset["settings"]["template"]["value"] == setting.preset.get("template")


def test_json_is_its_schema(session):
    found = survey(session, PROMPT, settings_of("temperature=0,1", tokens=2), Options(samples=2, seed=1))
    jsonschema.validate(json.loads(json.dumps(found.to_dict())), report_schema(Survey, "survey"))


def test_without_a_seed_one_is_drawn_for_all_settings(session):
    one, other = settings_of("temperature=1", tokens=4), settings_of("temperature=1", tokens=4)
    found = survey(session, PROMPT, [*one, *other], Options(samples=2))
    assert found.settings[0].texts == found.settings[1].texts
    with pytest.raises(UsageError, match="at least one setting"):
        survey(session, PROMPT, [])


def test_the_preset_says_how_long_a_text_is(session):
    preset = Preset.loads("max_new_tokens: 2\n")
    found = survey(session, PROMPT, [Variation("two", preset, {})], Options(samples=1, seed=1))
    assert found.settings[0].variety.tokens == 2
