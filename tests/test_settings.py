"""What flags, environment, preset and checkpoint say, resolved: the contract's chapter "Settings" line by line."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gencli.errors import RunError, UsageError
from gencli.preset import Preset, Value
from gencli.registry import find, names
from gencli.settings import Given, from_generation_config, resolve


def flag(name, value):
    return {name: Value(value, f"flag --{name.replace('_', '-')}")}


def environment(name, value):
    return {name: Value(value, f"environment GENCLI_{name.upper()}")}


def sets(*texts, origin="flag --set"):
    return [Value(text, origin) for text in texts]


def knobs(preset):
    return [(each.stage, {name: value.value for name, value in each.knobs}) for each in preset.pipeline]


@pytest.fixture
def preset_file(tmp_path):
    """Writes a preset and answers its path."""

    def write(text):
        path = tmp_path / "p.yaml"
        path.write_text(text)
        return str(path)

    return write


# without a preset


def test_flags_alone_are_the_pipeline_in_standard_order():
    given = Given(flags={**flag("top_p", 0.9), **flag("temperature", 0.7), **environment("repetition_penalty", 1.2)})
    assert knobs(resolve(given, {"top_k": 7})) == [
        ("repetition_penalty", {"penalty": 1.2}),
        ("temperature", {"temperature": 0.7}),
        ("top_p", {"p": 0.9}),
    ]


def test_temperature_zero_alone_is_the_arg_max_of_the_raw_logits():
    assert knobs(resolve(Given(flags=flag("temperature", 0)), {"repetition_penalty": 1.3})) == [("temperature", {"temperature": 0.0})]


def test_set_alone_names_a_stage_too():
    assert knobs(resolve(Given(sets=sets("top_k=5")), {"top_p": 0.5})) == [("top_k", {"k": 5})]


def test_without_stages_the_checkpoints_generation_config_counts():
    preset = resolve(Given(flags=flag("max_new_tokens", 5)), {"top_p": 0.5, "eos_token_id": 3})
    assert knobs(preset) == [("top_p", {"p": 0.5})]
    assert preset.get("max_new_tokens") == 5
    assert preset.pipeline[0].knobs[0][1].origin == "generation_config"


def test_with_nothing_at_all_it_is_the_models_own_distribution():
    assert resolve(Given()) == Preset()
    assert resolve(Given(), {"eos_token_id": [0, 1], "max_length": 20}).pipeline == ()


def test_an_empty_pipeline_is_the_models_own_distribution():
    assert resolve(Given(pipeline=Value("", "flag --pipeline")), {"top_k": 5}).pipeline == ()


# generation_config


@pytest.mark.parametrize(
    ("config", "pipeline"),
    [
        ({}, []),
        (
            {"min_p": 0.1, "top_p": 0.9, "top_k": 7, "temperature": 0.5, "min_new_tokens": 3, "repetition_penalty": 1.1},
            [
                ("repetition_penalty", {"penalty": 1.1}),
                ("min_new_tokens", {"tokens": 3}),
                ("temperature", {"temperature": 0.5}),
                ("top_k", {"k": 7}),
                ("top_p", {"p": 0.9}),
                ("min_p", {"p": 0.1}),
            ],
        ),
        ({"do_sample": True, "top_k": 7}, [("top_k", {"k": 7})]),
        ({"do_sample": None, "top_k": 7}, [("top_k", {"k": 7})]),
        ({"do_sample": False, "top_k": 7, "temperature": 0.5}, [("temperature", {"temperature": 0.0})]),
        ({"do_sample": False, "min_new_tokens": 7}, [("min_new_tokens", {"tokens": 7}), ("temperature", {"temperature": 0.0})]),
        ({"temperature": 1.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1, "min_p": None}, []),
        ({"typical_p": 0.5, "num_beams": 4, "bos_token_id": 1}, [("typical_p", {"p": 0.5})]),
    ],
)  # fmt: skip
def test_generation_config_in_transformers_order(config, pipeline):
    assert knobs(from_generation_config(config)) == pipeline


def test_that_order_is_transformers_own():
    from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=4, vocab_size=10, n_positions=8))
    config = GenerationConfig(
        do_sample=True,
        temperature=0.5,
        top_k=7,
        top_p=0.9,
        min_p=0.1,
        typical_p=0.9,
        epsilon_cutoff=0.001,
        eta_cutoff=0.002,
        top_h=0.4,
        no_repeat_ngram_size=3,
        repetition_penalty=1.1,
        min_new_tokens=2,
        eos_token_id=0,
        pad_token_id=0,
    )
    model._prepare_special_tokens(config, device="cpu")
    theirs = model._get_logits_processor(generation_config=config, input_ids_seq_length=1, device="cpu")
    words = [
        type(each).__name__.removesuffix("LogitsProcessor").removesuffix("LogitsWarper").removesuffix("Length").lower() for each in theirs
    ]
    mine = [each.stage.replace("_", "") for each in from_generation_config(config.to_dict()).pipeline]
    assert len(mine) == len(words)
    assert all(stage.startswith(word) for stage, word in zip(mine, words, strict=True))  # eta is eta_cutoff


@pytest.mark.parametrize("value", [-1, "hot", True, [0.5], float("nan"), float("inf"), 10**400, {}])
def test_a_damaged_generation_config_is_a_run_time_failure_that_tells_the_way_out(value):
    with pytest.raises(RunError, match=r"generation_config.json .*name a preset"):
        resolve(Given(), {"temperature": value})
    assert resolve(Given(preset="greedy"), {"temperature": value})


# with a preset


def test_with_a_preset_generation_config_has_no_say(preset_file):
    assert knobs(resolve(Given(preset=preset_file("pipeline: [top_k: 5]")), {"top_p": 0.5})) == [("top_k", {"k": 5})]
    assert resolve(Given(preset=preset_file("pipeline: []")), {"top_p": 0.5}).pipeline == ()


def test_precedence_is_flag_environment_preset_default(preset_file):
    path = preset_file("pipeline:\n  - repetition_penalty: {penalty: 1.3, last: 8}\nstop: [a]\nmax_new_tokens: 3")
    both = {**environment("repetition_penalty", 1.2)}
    assert knobs(resolve(Given(preset=path, flags=both))) == [("repetition_penalty", {"penalty": 1.2, "last": 8})]
    assert knobs(resolve(Given(preset=path, flags=both, sets=sets("repetition_penalty=1.1")))) == [
        ("repetition_penalty", {"penalty": 1.1, "last": 8})
    ]
    from_variable = sets("repetition_penalty=1.9", "repetition_penalty.last=2", origin="environment GENCLI_SET")
    assert knobs(resolve(Given(preset=path, flags=flag("repetition_penalty", 1.5), sets=from_variable))) == [
        ("repetition_penalty", {"penalty": 1.5, "last": 2})
    ]
    resolved = resolve(Given(preset=path, flags={**flag("stop", ("b", "c")), **environment("max_new_tokens", 9)}))
    assert (resolved.get("stop"), resolved.get("max_new_tokens")) == (("b", "c"), 9)


def test_every_value_carries_its_origin(preset_file):
    path = preset_file("pipeline:\n  - top_k: 10\n  - repetition_penalty: 1.1\nstop: x")
    given = Given(
        preset=path,
        flags={**flag("top_p", 0.9), **environment("temperature", 0.5), **flag("max_new_tokens", 4)},
        sets=sets("repetition_penalty.last=3"),
    )
    found = resolve(given).to_dict()
    origins = {(each["stage"], name): value["origin"] for each in found["pipeline"] for name, value in each["knobs"].items()}
    assert origins == {
        ("temperature", "temperature"): "environment GENCLI_TEMPERATURE",
        ("top_k", "k"): "preset p (p.yaml, line 2)",
        ("top_p", "p"): "flag --top-p",
        ("repetition_penalty", "penalty"): "preset p (p.yaml, line 3)",
        ("repetition_penalty", "last"): "flag --set",
        ("repetition_penalty", "scope"): "default",
    }
    assert found["settings"]["stop"]["origin"] == "preset p (p.yaml, line 4)"
    assert found["settings"]["max_new_tokens"]["origin"] == "flag --max-new-tokens"
    assert found["settings"]["strategy"]["origin"] == "default"


@pytest.mark.parametrize(
    ("pipeline", "stage", "place"),
    [
        ("temperature, min_p", "top_k", 1),  # before the first stage with a higher place
        ("top_p, temperature", "top_k", 0),
        ("temperature", "repetition_penalty", 0),
        ("temperature, top_p", "min_p", 2),
        ("", "min_p", 0),
    ],
)
def test_a_stage_the_preset_lacks_goes_to_its_standard_place(preset_file, pipeline, stage, place):
    found = resolve(Given(preset=preset_file(f"pipeline: [{pipeline}]"), sets=sets(f"{stage}={1 if stage == 'top_k' else 0.5}")))
    assert [each.stage for each in found.pipeline].index(stage) == place


@given(st.permutations(["temperature", "top_k", "top_p", "min_p", "repetition_penalty"]), st.data())
def test_the_order_of_flags_does_not_matter(flags, data):
    base = data.draw(st.permutations(["presence_penalty", "frequency_penalty", "min_new_tokens"]))
    given = Given(
        pipeline=None,
        sets=sets(*[f"{stage}=1" for stage in base]),
        flags=dict(itertools.chain.from_iterable(flag(name, 1).items() for name in flags)),
    )
    found = [each.stage for each in resolve(given).pipeline]
    assert found == sorted(found, key=lambda name: find("stages", name).place)


# --set


@pytest.mark.parametrize(
    ("text", "stage", "set_to"),
    [
        ("top_k=40", "top_k", {"k": 40}),
        ("top-k=40", "top_k", {"k": 40}),
        ("top_k.k=40", "top_k", {"k": 40}),
        ("top_k#1.k=40", "top_k", {"k": 40}),
        (" top_p = 3e-4 ", "top_p", {"p": 3e-4}),
        ("repetition_penalty.scope=output", "repetition_penalty", {"scope": "output"}),
        ("repetition_penalty.last=0x10", "repetition_penalty", {"last": 16}),
        ("logit_bias={' a': 1, 5: -inf}", "logit_bias", {"entries": ((" a", 1.0), (5, float("-inf")))}),
        ("logit_bias=[[a, 1]]", "logit_bias", {"entries": (("a", 1.0),)}),
        ("logit_bias={}", "logit_bias", {"entries": ()}),
        ("logit_bias= the=-2", "logit_bias", {"entries": ((" the", -2.0),)}),
        ("logit_bias=a=b=1", "logit_bias", {"entries": (("a=b", 1.0),)}),
        ("logit_bias=5=-inf", "logit_bias", {"entries": ((5, float("-inf")),)}),
        ('logit_bias="5"=1', "logit_bias", {"entries": (("5", 1.0),)}),
        ('logit_bias="a\\n"=1', "logit_bias", {"entries": (("a\n", 1.0),)}),
    ],
)
def test_set_reaches_any_knob(text, stage, set_to):
    assert knobs(resolve(Given(sets=sets(text)))) == [(stage, set_to)]


def test_of_two_equal_names_the_later_counts():
    assert knobs(resolve(Given(sets=sets("top_k=4", "top_k=5")))) == [("top_k", {"k": 5})]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("top_k", "--set top_k: what is set must look like stage=value"),
        ("", "must look like"),
        ("=5", "there is no stage ''"),
        ("topk=5", "there is no stage 'topk'. Did you mean 'top_k'? Choices: "),
        ("top_k.q=5", "there is no knob of top_k 'q'. Choices: k."),
        ("repetition_penalty.lst=5", "Did you mean 'last'?"),
        ("top_k=", "--set top_k must be a whole number at least 0, not ''"),
        ("top_k=-1", "--set top_k must be a whole number at least 0, not -1"),
        ("top_k=1_000", "not '1_000'"),
        ("top_k=yes", "not 'yes'"),
        ("top_k=" + "9" * 5000, "must be a whole number"),
        ("temperature=.nan", "--set temperature must be"),
        ("temperature=true", "--set temperature must be"),
        ("repetition_penalty.scope=outpt", "Did you mean 'output'?"),
        ("top_k#0=5", "counted from 1"),
        ("top_k#2=5", "top_k stands 0 times in the pipeline; there is no top_k#2"),
        ("logit_bias=x", "must be TEXT_OR_ID=NUMBER"),
        ("logit_bias=x=y", "must be TEXT_OR_ID=NUMBER"),
        ("logit_bias==1", "must be TEXT_OR_ID=NUMBER"),
        ("logit_bias=x=true", "bias of 'x'"),
        ('logit_bias="\\q"=1', "is not a text in double quotes"),
        ("logit_bias={a: 1", "--set logit_bias, line 1: this is not YAML"),
        ("logit_bias={a: &x 1}", "anchors"),
        ("logit_bias=[a]", "pair"),
    ],
)
def test_a_wrong_set_is_a_sentence(text, said):
    with pytest.raises(UsageError) as error:
        resolve(Given(sets=sets(text)))
    assert said in str(error.value)
    assert len(str(error.value)) < 6000


DOUBLED = "pipeline:\n  - temperature: 0.8\n  - top_k: 5\n  - temperature: 1.5"


def test_a_stage_that_stands_twice_is_named_by_number(preset_file):
    path = preset_file(DOUBLED)
    found = resolve(Given(preset=path, sets=sets("temperature#2=2", "temperature#1.temperature=0.5")))
    assert knobs(found) == [("temperature", {"temperature": 0.5}), ("top_k", {"k": 5}), ("temperature", {"temperature": 2.0})]
    for plain in (
        Given(preset=path, sets=sets("temperature=2")),
        Given(preset=path, flags=flag("temperature", 2)),
        Given(preset=path, flags=environment("temperature", 2)),
    ):
        with pytest.raises(
            UsageError, match=r"temperature stands 2 times .*--set temperature#1.temperature=... or --set temperature#2.temperature=\.\.\."
        ):
            resolve(plain)
    with pytest.raises(UsageError, match="temperature stands 2 times in the pipeline; there is no temperature#3"):
        resolve(Given(preset=path, sets=sets("temperature#3=2")))


def test_a_flag_and_a_set_must_not_contradict():
    with pytest.raises(UsageError, match="--top-k and --set top_k=6 set the same to different values"):
        resolve(Given(flags=flag("top_k", 5), sets=sets("top_k=6")))
    assert knobs(resolve(Given(flags=flag("top_k", 5), sets=sets("top_k=5")))) == [("top_k", {"k": 5})]


# --pipeline


def only(text):
    return Value(text, "flag --pipeline")


def test_pipeline_keeps_exactly_these_in_this_order(preset_file):
    path = preset_file("pipeline:\n  - temperature: 0.8\n  - top_k: 10\n  - repetition_penalty: {penalty: 1.1, last: 3}")
    found = resolve(
        Given(preset=path, pipeline=only("top_p, repetition-penalty,temperature"), flags=flag("temperature", 0.5)), {"min_p": 0.1}
    )
    assert knobs(found) == [("top_p", {}), ("repetition_penalty", {"penalty": 1.1, "last": 3}), ("temperature", {"temperature": 0.5})]
    assert found.stages()[0][1] == find("stages", "top_p")()


def test_the_nth_of_a_name_keeps_the_nth_ones_knobs(preset_file):
    path = preset_file(DOUBLED)
    found = resolve(Given(preset=path, pipeline=only("temperature,temperature,temperature"), sets=sets("temperature#3=3")))
    assert knobs(found) == [
        ("temperature", {"temperature": 0.8}),
        ("temperature", {"temperature": 1.5}),
        ("temperature", {"temperature": 3.0}),
    ]
    assert knobs(resolve(Given(preset=path, pipeline=only("temperature")))) == [("temperature", {"temperature": 0.8})]


def test_what_pipeline_leaves_out_cannot_be_set():
    with pytest.raises(UsageError, match="--top-k sets top_k, which --pipeline leaves out"):
        resolve(Given(pipeline=only("top_p"), flags=flag("top_k", 5)))
    with pytest.raises(UsageError, match="--set top_k=5 sets top_k, which --pipeline leaves out"):
        resolve(Given(pipeline=only("top_p"), sets=sets("top_k=5")))
    # what merely lies in the environment is no contradiction
    assert knobs(resolve(Given(pipeline=only("top_p"), flags=environment("top_k", 5)))) == [("top_p", {})]


@pytest.mark.parametrize("text", ["topk", "top_k,,top_p", "top_k;top_p", ","])
def test_a_wrong_pipeline_lists_the_stages(text):
    with pytest.raises(UsageError, match=r"--pipeline: there is no stage .* Choices: .*frequency_penalty, .*logit_bias"):
        resolve(Given(pipeline=only(text)))


# what Python programs may hand over unchecked


def test_flags_are_checked_here_as_well():
    with pytest.raises(UsageError, match="--top-k must be a whole number at least 0, not -1"):
        resolve(Given(flags=flag("top_k", -1)))
    with pytest.raises(UsageError, match="there is no stage 'topk'"):
        resolve(Given(flags=flag("topk", 1)))
    with pytest.raises(UsageError, match="there is no preset 'creativ'"):
        resolve(Given(preset="creativ"))


@given(st.text(max_size=20) | st.sampled_from(names("stages")).flatmap(lambda name: st.text(max_size=8).map(lambda text: f"{name}={text}")))
def test_any_set_is_taken_or_refused(text):
    with contextlib.suppress(UsageError):
        resolve(Given(sets=sets(text))).stages()


def test_an_alias_is_its_stage_everywhere():
    asked = Given(flags=flag("repeat_penalty", 1.5))
    assert resolve(asked).pipeline[0].stage == "repetition_penalty"
    (stage,) = resolve(Given(sets=sets("repeat-penalty.last=7"))).pipeline
    assert (stage.stage, stage.knobs[0][1].value) == ("repetition_penalty", 7)
    (stage,) = resolve(Given(pipeline=Value("repeat_penalty", "flag --pipeline"))).pipeline
    assert stage.stage == "repetition_penalty"
    preset = Preset.loads("pipeline:\n  - repeat_penalty: 1.2\n  - repeat_penalty: {last: 3}")
    assert [each.stage for each in preset.pipeline] == ["repetition_penalty"] * 2
    assert "repeat" not in preset.dumps()
