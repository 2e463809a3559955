"""Lists, presets and variants become named presets."""

from __future__ import annotations

import pytest

from gencli.errors import UsageError
from gencli.preset import Preset, Value
from gencli.settings import Given
from gencli.variations import MOST, pipeline_words, variations


def given(*sets, **more):
    return Given(sets=[Value(text, "flag --set") for text in sets], **more)


def made(*args, **kwargs):
    return [(each.name, pipeline_words(each.preset)) for each in variations(*args, **kwargs)]


def variant(text):
    return Value(text, "flag --variant")


def test_nothing_varied_is_one_setting_named_by_its_pipeline():
    assert made(given()) == [("the model alone", "the model alone")]
    assert made(given("top_k=5", "temperature=0.5")) == [("temperature: 0.5 > top_k: 5",) * 2]
    assert made(given(), generation_config={"top_k": 7}) == [("top_k: 7",) * 2]


def test_a_list_makes_one_setting_of_each_value():
    assert made(given("temperature=0.5, 1.0,1.5")) == [
        ("temperature=0.5", "temperature: 0.5"),
        ("temperature=1.0", "temperature: 1.0"),
        ("temperature=1.5", "temperature: 1.5"),
    ]
    assert [name for name, _ in made(given("temperature=1,1"))] == ["temperature: 1.0"]


def test_lists_and_presets_make_every_combination():
    found = variations(given("temperature=0.5,1", "top_k=3", "top_p=0.9,1"), ["factual", "chat"])
    assert [each.name for each in found] == [
        f"{preset} temperature={temperature} top_p={p}"
        for preset in ("factual", "chat")
        for temperature in ("0.5", "1")
        for p in ("0.9", "1")
    ]
    assert found[1].varied == {"temperature": "0.5", "top_p": "1"}
    assert {dict(stage.knobs)["k"].value for each in found for stage in each.preset.pipeline if stage.stage == "top_k"} == {3}


def test_a_variant_changes_the_first():
    found = variations(given("top_k=5"), ["factual", "chat"], [variant("temperature=0.9,top_p=0.8"), variant("top_k=9")])
    assert [each.name for each in found] == ["factual", "chat", "factual temperature=0.9 top_p=0.8", "factual top_k=9"]
    assert pipeline_words(found[2].preset) == "temperature: 0.9 > top_k: 5 > top_p: 0.8"
    assert pipeline_words(found[3].preset) == "temperature: 0.4 > top_k: 9 > top_p: 0.6"
    flags = Given(flags={"temperature": Value(0.5, "flag --temperature")})
    assert made(flags, variants=[variant("temperature=2")])[1] == ("temperature=2", "temperature: 2.0")


def test_commas_inside_a_value_stay_there():
    text = 'logit_bias={"a, b=": 1, 7: -2},top_k=3'
    found = variations(given(), variants=[variant(text)])[1]
    assert pipeline_words(found.preset) == 'logit_bias: {"a, b=": 1.0, 7: -2.0} > top_k: 3'
    assert variations(given('logit_bias={"x": 1, "y": 2}'))[0].varied == {}


def test_a_text_is_one_value_with_all_its_commas():
    (one,) = variations(given("guidance=1.5", "guidance.negative=Once, twice = thrice"))
    assert dict(one.preset.pipeline[0].knobs)["negative"].value == "Once, twice = thrice"
    assert made(given("cfg=1,2", "cfg.negative=Dull"))[1] == ("cfg=2", 'guidance: {scale: 2.0, negative: "Dull"}')


def test_of_a_stage_that_stands_twice_one_is_meant(tmp_path):
    (tmp_path / "twice.yaml").write_text("pipeline: [{temperature: 0.5}, {top_k: 4}, {temperature: 2}]\n")
    found = variations(given("temperature#2=1,3"), [str(tmp_path / "twice.yaml")])
    assert [each.name for each in found] == ["twice temperature#2=1", "twice temperature#2=3"]
    assert pipeline_words(found[1].preset) == "temperature: 0.5 > top_k: 4 > temperature: 3.0"


@pytest.mark.parametrize(
    ("sets", "variants", "said"),
    [
        (["temprature=1,2"], [], "there is no stage 'temprature'. Did you mean 'temperature'?"),
        (["top_k.q=1,2"], [], "there is no knob of top_k 'q'"),
        (["temperature=1,,2"], [], "--set temperature must be in"),
        (["temperature"], [], "must look like stage=value"),
        ([], ["topk=3"], "--variant topk=3: there is no stage 'topk'. Did you mean 'top_k'?"),
        ([], ["temperature=0.5,1"], "--variant temperature must be in [0, 100], not '0.5,1'"),
        ([], ["temperature=0.5,topp=1"], "--variant topp=1: there is no stage 'topp'. Did you mean 'top_p'?"),
        ([], ["top_p=1.5"], "--variant top_p must be in (0, 1], not 1.5"),
        (["temperature=" + ",".join(map(str, range(50))), "top_k=" + ",".join(map(str, range(50)))], [], f"2500 settings; at most {MOST}"),
    ],
)
def test_what_is_wrong_is_a_sentence(sets, variants, said):
    with pytest.raises(UsageError) as error:
        variations(given(*sets), variants=[variant(text) for text in variants])
    assert said in str(error.value)


def test_presets_stay_as_they_were():
    first = variations(given(), ["creative"], [variant("top_k=1")])[0]
    assert first.preset == Preset.load("creative")
