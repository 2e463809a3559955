"""generation_config.json: the same distribution as transformers' own processors, on random rows and configurations."""

from __future__ import annotations

import json
import random

import pytest
import torch

from foreign import PROMPT, SIZE
from gencli.errors import UsageError
from gencli.importers import sources
from gencli.importers.transformers import BEFORE_SAMPLING, SAMPLING
from gencli.registry import names

ENDS = [0, 3]
# each key with the stage it needs and values that do something
VALUES = {
    "guidance_scale": ("guidance", lambda dice: dice.choice([0.0, 1.0, 1.5, 3.0])),
    "sequence_bias": ("logit_bias", lambda dice: [[[token], dice.choice([-2.5, 0.5, 3.0])] for token in dice.sample(range(SIZE), 4)]),
    "repetition_penalty": ("repetition_penalty", lambda dice: dice.uniform(0.6, 2)),
    "no_repeat_ngram_size": ("no_repeat_ngram", lambda dice: dice.randint(1, 3)),
    "bad_words_ids": ("banned_words", lambda dice: [[token] for token in dice.sample(range(SIZE), 5)]),
    "min_new_tokens": ("min_new_tokens", lambda dice: dice.randint(5, 15)),
    "exponential_decay_length_penalty": ("length_decay", lambda dice: [dice.randint(0, 12), dice.uniform(0.7, 1.5)]),
    "suppress_tokens": ("logit_bias", lambda dice: dice.sample(range(SIZE), 5)),
    "temperature": ("temperature", lambda dice: dice.uniform(0.3, 2)),
    "top_h": ("top_h", lambda dice: dice.uniform(0.1, 0.9)),
    "top_k": ("top_k", lambda dice: dice.choice([0, 1, 7, 30])),
    "top_p": ("top_p", lambda dice: dice.choice([0.0, 0.3, 0.9, 0.99, 1.0])),
    "min_p": ("min_p", lambda dice: dice.uniform(0, 0.4)),
    "typical_p": ("typical_p", lambda dice: dice.uniform(0.1, 0.99)),
    "epsilon_cutoff": ("epsilon_cutoff", lambda dice: dice.uniform(1e-3, 0.1)),
    "eta_cutoff": ("eta_cutoff", lambda dice: dice.uniform(1e-3, 0.2)),
}
KNOWN = [key for key, (stage, _) in VALUES.items() if stage in names("stages")]


@pytest.fixture(scope="module")
def model():
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=4, vocab_size=SIZE, n_positions=32)).eval()


@pytest.fixture(scope="module")
def beside(model, texts):
    """What their guidance sets a row against: the model's logits after its last token alone."""
    with torch.no_grad():
        return model(torch.tensor(texts)[:, -1:]).logits[:, -1]


@pytest.fixture(scope="module")
def theirs(model, rows, texts):
    """The distribution that transformers' generate would draw from under a configuration."""

    def probabilities(config):
        from transformers import GenerationConfig

        asked, _ = model._prepare_generation_config(GenerationConfig.from_dict(dict(config)))
        model._prepare_special_tokens(asked, device="cpu")
        processors = model._get_logits_processor(generation_config=asked, input_ids_seq_length=PROMPT, device="cpu")
        with torch.no_grad():
            scores = processors(torch.tensor(texts), rows.clone())
        if asked.do_sample:
            return scores.softmax(dim=1)
        return torch.nn.functional.one_hot(scores.argmax(dim=1), SIZE).double()

    return probabilities


@pytest.mark.parametrize("key", KNOWN)
def test_every_processor_that_both_have_gives_the_same_distribution(key, imported, drawn_from, theirs, beside, rows, texts, apart):
    dice = random.Random(key)
    for sampled in (True, False):
        for _ in range(3):
            config = {"do_sample": sampled, "eos_token_id": ENDS, "pad_token_id": 1, "top_k": 0, key: VALUES[key][1](dice)}
            found = imported("transformers", json.dumps(config))
            assert not found.lost
            assert apart(drawn_from(found.preset, rows, texts, beside), theirs(config)) < 1e-6, config


@pytest.mark.parametrize("seed", range(25))
def test_random_combinations_give_the_same_distribution(seed, imported, drawn_from, theirs, beside, rows, texts, apart):
    dice = random.Random(seed)
    config = {key: VALUES[key][1](dice) for key in dice.sample(KNOWN, dice.randint(2, len(KNOWN)))}
    config |= {"do_sample": dice.random() < 0.9, "eos_token_id": dice.choice([0, ENDS]), "pad_token_id": 1}
    found = imported("transformers", json.dumps(config))
    assert not found.lost
    assert apart(drawn_from(found.preset, rows, texts, beside), theirs(config)) < 1e-6, config


@pytest.mark.parametrize("config", [{}, {"do_sample": True}, {"do_sample": True, "top_k": None}, {"do_sample": False, "temperature": 2.0}])
def test_defaults_are_transformers_own(config, imported, drawn_from, theirs, rows, texts, apart):
    found = imported("transformers", json.dumps(config))
    assert apart(drawn_from(found.preset, rows, texts), theirs(config)) < 1e-6


def test_words_of_several_tokens_are_banned_words_as_well(imported):
    """Not with the same distribution, which `lost` names: gencli goes back where transformers bans the last token."""
    config = {"bad_words_ids": [[7], [3], [4, 5, 6], [4, 5, 6], [7]], "eos_token_id": [3]}
    (stage, greedy) = imported("transformers", json.dumps(config)).preset.pipeline
    assert (stage.stage, stage.knobs[0][1].value) == ("banned_words", (7, (4, 5, 6)))  # an end token is not banned, as there
    assert greedy.stage == "temperature"


def test_where_the_two_ways_of_banning_such_a_word_differ(imported, drawn_from, theirs, rows, texts, apart):
    """As `lost` says: only where all but the last token stand, and there transformers bans the last while gencli waits for it."""
    *before, last = texts[0][-2], texts[0][-1], int(rows[0].argmax())
    config = {"do_sample": True, "top_k": 0, "bad_words_ids": [[*before, last]]}
    ours, expected = drawn_from(imported("transformers", json.dumps(config)).preset, rows, texts), theirs(config)
    stands = torch.tensor([text[-2:] == before for text in texts])
    assert apart(ours[~stands], expected[~stands]) < 1e-6
    assert apart(ours[stands], rows[stands].softmax(dim=1)) < 1e-6
    assert bool((expected[stands, last] == 0).all())


def test_the_defaults_and_the_order_are_those_of_the_installed_version(model):
    """A new version that changes them fails here, not in somebody's text."""
    import inspect

    from transformers import GenerationConfig

    from gencli.importers.transformers import DEFAULTS

    assert {key: GenerationConfig._get_default_generation_params()[key] for key in DEFAULTS} == DEFAULTS
    code = inspect.getsource(model._get_logits_processor)
    places = [code.index(f"generation_config.{key} is not None") for key in (*BEFORE_SAMPLING, *SAMPLING)]
    assert places == sorted(places)


def test_limits_stop_strings_and_end_tokens_are_carried_over(imported):
    config = {"max_new_tokens": 9, "stop_strings": ["\n\n", "\u001b"], "eos_token_id": 5}
    preset = imported("transformers", json.dumps(config)).preset
    assert (preset.get("max_new_tokens"), preset.get("stop"), preset.get("end_tokens")) == (9, ("\n\n", "\x1b"), (5,))
    assert imported("transformers", '{"stop_strings": "x"}').preset.get("stop") == ("x",)
    origins = dict(sources()["transformers"].read('{\n\n"max_new_tokens": 9}', "conf.json").settings)
    assert origins["max_new_tokens"].origin == "transformers max_new_tokens (conf.json, line 3)"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"num_beams": 4}, "num_beams 4: gencli draws one token at a time"),
        ({"min_length": 7}, "min_length 7: it counts the prompt as well; write min_new_tokens"),
        ({"max_length": 7}, "max_length 7: it counts the prompt as well; write max_new_tokens"),
        ({"max_time": 1.5}, "max_time 1.5: .* --time-limit"),
        ({"bad_words_ids": [[1, 2], [3]]}, "bad_words_ids: 1 of its words are several tokens long; .* goes back to where it began"),
        ({"sequence_bias": [[[1, 2], 0.5], [[3], 0.5]]}, "sequence_bias: 1 of its sequences"),
        ({"watermarking_config": {"bias": 2}}, "watermarking_config .*gencli puts no watermark"),
        ({"begin_suppress_tokens": [1]}, "begin_suppress_tokens .*first step only"),
        ({"encoder_repetition_penalty": 1.2}, "encoder_repetition_penalty 1.2"),
        ({"do_sample": True, "temperature": 1000}, r"temperature 1000: gencli draws without it, because temperature must be in \[0, 100\]"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_over_is_named(config, said, imported):
    import re

    (sentence,) = imported("transformers", json.dumps(config)).lost
    assert re.match(said, sentence)


def test_neutral_values_are_not_worth_a_word(imported):
    quiet = {"num_beams": 1, "min_length": 0, "token_healing": False, "penalty_alpha": None, "renormalize_logits": True}
    found = imported("transformers", json.dumps(quiet | {"use_cache": True, "top_k": 5}))
    assert found.lost == ()
    assert found.aside == ("use_cache", "top_k (without do_sample the likeliest token is taken)")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "here, line 1: this is not JSON"),
        ("[1]", "here: a generation config is an object"),
        ('{\n"a": 1,\n"a": 2}', 'here, line 2: the key "a" stands twice'),
        ('{"do_sample": true,\n"top_k": "x"}', 'here, line 2: top_k must be a number, not "x"'),
        ('{"do_sample": "yes"}', "here, line 1: do_sample must be true or false"),
        ('{"do_sample": true, "top_k": NaN}', "here: NaN is no number of JSON"),
        ('{"top_k": ' + "9" * 6000 + "}", "here: it holds a number that is too long"),
        ("[" * 100_000, "here: lists and objects stand more than 30 deep"),
        ('{"bad_words_ids": 3}', "here, line 1: bad_words_ids must be a list of lists"),
        ('{"bad_words_ids": [[-3]]}', "here, line 1: bad_words_ids must be a list of token ids"),
        ('{"sequence_bias": {"1": 2}}', "here, line 1: sequence_bias must be a list of pairs"),
        ('{"sequence_bias": [[[1], "x"]]}', "here, line 1: sequence_bias: a bias must be a number"),
        ('{"exponential_decay_length_penalty": 3}', "here, line 1: exponential_decay_length_penalty must be a pair"),
        ('{"max_new_tokens": 0}', "here, line 1: max_new_tokens must be a whole number at least 1"),
        ('{"stop_strings": ["\\ud800"]}', "here, line 1: stop_strings must be texts"),
        ('{"eos_token_id": "</s>"}', "here, line 1: eos_token_id must be a list of token ids"),
        ('{"suppress_tokens": [1.5]}', "here, line 1: suppress_tokens must be a list of token ids"),
    ],
)  # fmt: skip
def test_a_damaged_configuration_is_a_sentence_with_its_line(text, said):
    with pytest.raises(UsageError) as caught:
        sources()["transformers"].read(text, "here")
    assert str(caught.value).startswith(said)
    assert len(str(caught.value)) < 400
