"""How likely a text is: as transformers tells it, in bytes that count, and where a run would have ended."""

from __future__ import annotations

import itertools
import math
import warnings
from dataclasses import replace

import pytest
import torch

from gencli.errors import UsageError
from gencli.formats import open_checkpoint
from gencli.generation import Options, run
from gencli.loading import load
from gencli.models import family
from gencli.precisions.float32 import Float32
from gencli.preset import Preset
from gencli.prompting import Prompt
from gencli.scores import Ending, shares_of_ranks
from gencli.scoring import score, score_given
from gencli.walking import GivenText
from pipelines import tiny_session

STORY = 'Once upon a time, there was a naïve little dragon: 日本 👩‍👧. It liked "fire"!\n\nThe end.'


@pytest.fixture(scope="module")
def session():
    return load()


@pytest.fixture(scope="module")
def transformers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers
        from transformers import LlamaForCausalLM  # noqa: F401
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def cross_entropy(oracle, prompt_ids, ids):
    """The sum in nats that transformers' loss gives for `ids` after a prompt."""
    whole = torch.tensor([[*prompt_ids, *ids]])
    labels = whole.clone()
    labels[:, : len(prompt_ids)] = -100
    with torch.inference_mode():
        return float(oracle(whole, labels=labels).loss) * len(ids)


def test_the_log_probability_is_transformers_cross_entropy_on_the_embedded_checkpoint(session, transformers, fable):
    oracle = transformers.AutoModelForCausalLM.from_pretrained(fable, dtype=torch.float32).eval()
    for text, prompt in ((STORY, ""), (" the end of the story", STORY), ("x", "")):
        found = score(session, text, prompt=prompt)
        expected = cross_entropy(oracle, found.prompt_ids, [token.id for token in found.tokens])
        assert -found.raw_logprob == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_log_probability_is_transformers_cross_entropy_on_a_random_model(session, transformers, tmp_path, seed):
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=96, hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64
    )
    oracle = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for weight in oracle.parameters():
            weight.copy_(torch.randn(weight.shape) * 0.3)
    oracle.save_pretrained(tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    model = family(checkpoint.config).build(checkpoint.config, checkpoint.tensors, Float32())
    small = replace(tiny_session(), model=model, vocabulary=replace(session.vocabulary, size=96))
    ids = tuple(torch.randint(0, 96, (50,)).tolist())
    found = score_given(small, GivenText(ids[:3], ids[3:], 47))
    assert -found.raw_logprob == pytest.approx(cross_entropy(oracle, ids[:3], ids[3:]), rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(cross_entropy(oracle, ids[:3], ids[3:]) / 47), rel=1e-4)


def test_bits_per_byte_counts_bytes_not_characters(session):
    found = score(session, STORY)
    assert found.bytes == len(STORY.encode()) > len(STORY)
    assert found.bits_per_byte == pytest.approx(-found.raw_logprob / math.log(2) / len(STORY.encode()))
    assert found.surprisal == pytest.approx(sum(token.surprisal for token in found.tokens) / len(found.tokens))
    assert b"".join(token.bytes for token in found.tokens) == STORY.encode()
    assert "".join(token.text for token in found.tokens) == STORY
    assert sum(shares_of_ranks(found.tokens).values()) == pytest.approx(1)


def test_a_text_after_a_prompt_is_the_rest_of_the_whole(session):
    whole, prompt, rest = (score(session, text) for text in ("Once upon a time", "Once upon", "x"))
    after = score(session, " a time", prompt="Once upon")
    start = [*prompt.prompt_ids, *(token.id for token in prompt.tokens)]
    assert after.prompt_ids == tuple(start[1:]) or after.prompt_ids == tuple(start)
    given = GivenText(tuple(start), tuple(token.id for token in after.tokens), after.bytes)
    assert prompt.raw_logprob + score_given(session, given).raw_logprob == pytest.approx(whole.raw_logprob, abs=1e-4)
    assert rest.tokens[0].place == 0


def test_special_tokens_are_text_unless_asked(session):
    plain = score(session, "Hi<|endoftext|>")
    special = score(session, Prompt.of("Hi<|endoftext|>", special=True))
    assert len(special.tokens) < len(plain.tokens)
    assert special.tokens[-1].id in session.vocabulary.special_ids
    after = score(session, Prompt.of("Hi<|endoftext|>", special=True), prompt="Well.")
    assert after.tokens[-1].id == special.tokens[-1].id


def test_without_stages_the_preset_changes_nothing(session):
    found = score(session, STORY, Preset())
    assert found.reach.reachable
    assert found.logprob == pytest.approx(found.raw_logprob, abs=1e-3)
    assert score(session, STORY).reach is None


@pytest.mark.parametrize("name", ["creative", "chat", "greedy"])
def test_what_a_run_wrote_has_the_log_probability_that_it_told(session, name):
    from gencli.observation import Detail

    preset = Preset.load(name)
    started, *events = itertools.islice(run(session, "Once upon a time", preset, Options(seed=3, detail=Detail(candidates=1))), 50)
    tokens = [event for event in events if event.event == "token"]
    found = score_given(session, GivenText(started.prompt_ids, tuple(token.id for token in tokens), 1), preset)
    assert found.reach.reachable
    for scored, told in zip(found.tokens, tokens, strict=True):
        assert scored.logprob == pytest.approx(told.logprob, abs=1e-3)
        assert scored.raw_logprob == pytest.approx(told.raw_logprob, abs=1e-3)
        assert scored.raw_entropy == pytest.approx(told.raw_entropy, abs=1e-3)
        assert scored.rank == told.rank


def ending_of(session, text, preset):
    return score(session, text, Preset.loads(preset)).reach.ending


def test_where_a_run_would_have_ended(session):
    text = "One. Two.\n\nThree."
    assert ending_of(session, text, "pipeline: []") is None
    stopped = ending_of(session, text, 'stop: ["\\n\\n"]')
    assert (stopped.reason, stopped.stop) == ("stop_string", "\n\n")
    count = len(score(session, text).tokens)
    assert ending_of(session, text, f"max_new_tokens: {count}") is None
    assert ending_of(session, text, f"max_new_tokens: {count - 1}") == Ending(count - 2, "length")
    assert ending_of(session, "The end", 'stop: ["end"]').reason == "stop_string"  # never part of a text, also at its end
    special = Prompt.of("Hi<|endoftext|> and more", special=True)
    assert score(session, special, Preset()).reach.ending.reason == "end_token"
    assert not score(session, special, Preset()).reach.reachable
    assert score(session, Prompt.of("Hi<|endoftext|>", special=True), Preset()).reach.reachable


def test_an_empty_text_is_refused(session):
    with pytest.raises(UsageError, match="nothing to score"):
        score(session, "")


def test_as_json_values(session):
    import json

    found = score(session, STORY, Preset.loads("pipeline: [{logit_bias: {4: -.inf, ' time': -.inf}}, {top_k: 3}]"))
    values = json.loads(json.dumps({**found.figures(), "tokens": [token.to_dict() for token in found.tokens]}, allow_nan=False))
    assert values["reach"]["reachable"] is False
    assert values["logprob"] is None
    assert values["reach"]["first"]["removed_by"] == found.reach.first.removed_by
    assert values["tokens"][0]["bytes"] == "T25jZQ=="
