"""Presets read from YAML: every key, every mistake with its line, its choices and the nearest name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gencli.errors import UsageError
from gencli.preset import Preset
from gencli.registry import names

EXAMPLE = """\
description: "Stories and poems: wide choice, mild repetition control."
pipeline:
  - repetition_penalty: 1.1
  - presence_penalty: {penalty: 0.5, last: 32}
  - temperature: 1.0
  - top_p: 0.95
  - top_k
stop: ["\\n\\n", END]
max_new_tokens: 80
end_tokens: [0, "<|user|>"]
strategy: sample
template: "Q: {}\\nA:"
"""

PENALTY = "pipeline:\n  - repetition_penalty:\n"


def knobs(preset):
    return [(each.stage, {name: value.value for name, value in each.knobs}) for each in preset.pipeline]


def test_a_preset_is_read():
    preset = Preset.loads(EXAMPLE)
    assert preset.description == "Stories and poems: wide choice, mild repetition control."
    assert knobs(preset) == [
        ("repetition_penalty", {"penalty": 1.1}),
        ("presence_penalty", {"penalty": 0.5, "last": 32}),
        ("temperature", {"temperature": 1.0}),
        ("top_p", {"p": 0.95}),
        ("top_k", {}),
    ]
    assert {key: preset.get(key) for key, _ in preset.settings} == {
        "stop": ("\n\n", "END"), "max_new_tokens": 80, "end_tokens": (0, "<|user|>"), "strategy": "sample", "template": "Q: {}\nA:",
    }  # fmt: skip
    assert [name for name, _ in preset.stages()] == ["repetition_penalty", "presence_penalty", "temperature", "top_p", "top_k"]


def test_every_value_has_its_line():
    preset = Preset.loads(EXAMPLE, "p.yaml")
    assert [each.origin for each in preset.pipeline] == [f"p.yaml, line {line}" for line in (3, 4, 5, 6, 7)]
    assert dict(preset.pipeline[1].knobs)["last"].origin == "p.yaml, line 4"
    assert dict(preset.settings)["end_tokens"].origin == "p.yaml, line 10"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("descripton: x", 1, ["there is no key 'descripton'", "Did you mean 'description'?", "Choices: description, end_tokens, extends"]),
        ("max_new_tokens: 5\n5: x", 2, ["there is no key '5'"]),
        ("<<: {stop: a}", 1, ["there is no key '<<'"]),
        ("- stop", 1, ["a preset is a mapping of description, extends"]),
        ("hello", 1, ["not \"hello\""]),
        ("description: 5", 1, ["description must be a text", "put it in quotes"]),
        ("description:", 1, ["description must be a text", "not null"]),
        ("description: [a]", 1, ["not a list"]),
        ("extends: {a: b}", 1, ["extends must be a text", "not a mapping"]),
        ("pipeline: top_k", 1, ["pipeline must be a list of stages"]),
        ("pipeline:\nstop: a", 1, ["pipeline must be a list of stages", "not null"]),
        ("pipeline:\n  top_k: 5", 2, ["pipeline must be a list of stages", "'- '", "not a mapping"]),
        ("pipeline:\n  - topk: 5", 2, ["there is no stage 'topk'", "Did you mean 'top_k'?", "top_k, top_n_sigma, top_p"]),
        ("pipeline:\n  - topk", 2, ["there is no stage 'topk'"]),
        ("pipeline:\n  - 5", 2, ["a stage must stand here, not 5"]),
        ("pipeline:\n  - [top_k]", 2, ["a stage must stand here, not a list"]),
        ("pipeline:\n  - top_k: 5\n    top_p: 0.9", 2, ["one item of the pipeline is one stage, not 2"]),
        ("pipeline:\n  - {}", 2, ["is one stage, not 0"]),
        ("pipeline:\n  - top_k:", 2, ["top_k has no value", "at least 0", "'- top_k' alone"]),
        ("pipeline:\n  - top_k: {}", 2, ["top_k has no value; its knobs are k"]),
        ("pipeline:\n  - top_k: -1", 2, ["top_k must be a whole number at least 0, not -1"]),
        ("pipeline:\n  - top_k: 2.5", 2, ["top_k must be a whole number", "2.5"]),
        ("pipeline:\n  - top_k: 1_000", 2, ["top_k must be a whole number", "1_000"]),
        ("pipeline:\n  - top_k: yes", 2, ["top_k must be a whole number", "yes"]),
        ("pipeline:\n  - top_k: true", 2, ["top_k must be a whole number", "True"]),
        ("pipeline:\n  - top_k: [5]", 2, ["top_k must be a whole number", "[5]"]),
        ("pipeline:\n  - top_p: 1.5", 2, ["top_p must be in (0, 1], not 1.5"]),
        ("pipeline:\n  - top_p: 0", 2, ["top_p must be in (0, 1], not 0"]),
        ("pipeline:\n  - temperature: .nan", 2, ["temperature must be", "nan"]),
        ("pipeline:\n  - temperature: .inf", 2, ["temperature must be", "inf"]),
        ("pipeline:\n  - temperature: 1e999", 2, ["temperature must be", "inf"]),
        ("pipeline:\n  - temperature: " + "9" * 200, 2, ["temperature must be in [0, 100]"]),
        (f"{PENALTY}      lst: 5", 3, ["no knob of repetition_penalty 'lst'", "Did you mean 'last'?", "last, penalty, scope"]),
        (f"{PENALTY}      penalty: 1.1\n      last: -5", 4, ["repetition_penalty.last must be a whole number at least 0"]),
        ("pipeline:\n  - repetition_penalty: {scope: outpt}", 2, ["repetition_penalty.scope 'outpt'", "Did you mean 'output'?"]),
        ("pipeline:\n  - repetition_penalty: {scope: [output]}", 2, ["repetition_penalty.scope"]),
        ("pipeline:\n  - logit_bias: 5", 2, ["logit_bias must be a mapping of token text or id to a number"]),
        ("pipeline:\n  - logit_bias: {a: b}", 2, ["logit_bias", "must be -inf or in"]),
        ("pipeline:\n  - logit_bias: {a: .inf}", 2, ["must be -inf or in", "inf"]),
        ("pipeline:\n  - logit_bias: {true: 1}", 2, ["logit_bias must be a mapping"]),
        ("pipeline:\n  - logit_bias: [a, b]", 2, ["logit_bias must be a mapping", "pair"]),
        ("stop: 5", 1, ["stop must be a text", "put it in quotes"]),
        ("stop: ''", 1, ["stop must be a text that is not empty"]),
        ("stop: [a, '']", 1, ["stop must be a text that is not empty"]),
        ("stop: [[a]]", 1, ["stop must be a text", "not a list"]),
        ("stop:", 1, ["stop must be a text", "not null"]),
        ("max_new_tokens: 0", 1, ["max_new_tokens must be a whole number at least 1, not 0"]),
        ("max_new_tokens: 5.0", 1, ["max_new_tokens must be a whole number", "5.0"]),
        ("max_new_tokens: true", 1, ["max_new_tokens must be a whole number", "true"]),
        ("max_new_tokens: [5]", 1, ["max_new_tokens must be a whole number", "a list"]),
        ("end_tokens: -1", 1, ["end_tokens must be token ids (0 or more) or the texts of tokens, not -1"]),
        ("end_tokens: [0, 1.5]", 1, ["end_tokens", "1.5"]),
        ("end_tokens: ['']", 1, ["end_tokens"]),
        ("end_tokens: [true]", 1, ["end_tokens", "true"]),
        ("strategy: sampel", 1, ["there is no strategy 'sampel'", "Did you mean 'sample'?", "Choices:"]),
        ("template: no place", 1, ["template must hold {}, the place of the prompt, exactly once, not 0 times"]),
        ("template: '{}{}'", 1, ["not 2 times"]),
    ],
)  # fmt: skip
def test_a_mistake_tells_its_file_its_line_and_the_way_out(text, line, said):
    with pytest.raises(UsageError) as error:
        Preset.loads(text, "p.yaml")
    assert str(error.value).startswith(f"p.yaml, line {line}: ")
    for part in said:
        assert part in str(error.value)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "~"])
def test_an_empty_file_is_no_preset(text):
    with pytest.raises(UsageError, match=r"^p.yaml is empty; a preset says at least one of description"):
        Preset.loads(text, "p.yaml")


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("{' the': -2, 5: 1, '7': 3}", ((" the", -2.0), (5, 1.0), ("7", 3.0))),
        ("{entries: {a: 1}}", (("a", 1.0),)),
        ("{entries: 3}", (("entries", 3.0),)),
        ("{a: -inf, b: -.inf}", (("a", float("-inf")), ("b", float("-inf")))),
        ("[[a, 1], [5, -inf]]", (("a", 1.0), (5, float("-inf")))),
        ("{}", ()),
        ("[]", ()),
    ],
)
def test_token_biases_are_named_by_text_or_id(text, entries):
    preset = Preset.loads(f"pipeline: [{{logit_bias: {text}}}]")
    assert knobs(preset) == [("logit_bias", {"entries": entries})]


def test_one_text_or_token_needs_no_list():
    preset = Preset.loads("stop: END\nend_tokens: 0")
    assert (preset.get("stop"), preset.get("end_tokens")) == (("END",), (0,))
    assert Preset.loads("stop: []").get("stop", "unset") == ()


def test_an_error_is_short_whatever_the_file_holds():
    for text in (
        f"stop: [{'a' * 100_000}, 5]",
        f"{'a' * 100_000}: 1",
        f"pipeline: [{'a' * 100_000}]",
        f"pipeline: [top_k: {'9' * 100_000}]",
        f"strategy: {'a' * 100_000}",
    ):
        with pytest.raises(UsageError) as error:
            Preset.loads(text, "p.yaml")
        assert len(str(error.value)) < 1000


@given(st.data())
def test_a_mutated_preset_is_read_or_refused(data):
    start = data.draw(st.integers(0, len(EXAMPLE)))
    end = data.draw(st.integers(start, min(len(EXAMPLE), start + 20)))
    text = EXAMPLE[:start] + data.draw(st.text("aß0.1:-,[]{}#'\"&*!|>? \n\te_+\x00", max_size=10)) + EXAMPLE[end:]
    found = read_or_why(text)
    if isinstance(found, str):
        assert found.startswith("p.yaml")
    else:
        assert {name for name, _ in found.stages()} <= set(names("stages"))
        assert Preset.loads(found.dumps()).dumps() == found.dumps()


def read_or_why(text):
    try:
        return Preset.loads(text, "p.yaml")
    except UsageError as error:
        return str(error)
