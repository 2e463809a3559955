"""What a preset can say but hardly mean."""

from __future__ import annotations

import re

import pytest

from gencli import shipped
from gencli.linting import warnings
from gencli.preset import Preset


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        ("[]", []),
        ("[temperature: 0.5, top_k: 40, top_p: 0.9]", []),
        ("[top_k: 0]", ["p, line 1: top_k does nothing: k 0 is neutral."]),
        ("[top_p]", ["p, line 1: top_p does nothing: p 1 is neutral."]),
        ("[repetition_penalty: {last: 5}]", ["p, line 1: repetition_penalty does nothing: penalty 1 is neutral."]),
        ("[guidance: {negative: A dull story}]", ["p, line 1: guidance does nothing: scale 1 is neutral."]),
        ("[logit_bias: {}]", ["p, line 1: logit_bias does nothing: its entries are empty."]),
        ("[temperature: 0, top_k: 40, top_p: 1]", ["p, line 1: top_k does nothing: temperature 0 before it leaves one token.",
                                                   "p, line 1: top_p does nothing: temperature 0 before it leaves one token."]),
        ("[top_k: 1, temperature: 0]", ["p, line 1: temperature does nothing: top_k 1 before it leaves one token."]),
        ("[repetition_penalty: 1.1, temperature: 0]", []),
    ],
)  # fmt: skip
def test_stages_that_do_nothing_are_named(pipeline, said):
    assert warnings(Preset.loads(f"pipeline: {pipeline}", "p")) == said


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        ("[top_p: 0.9, temperature: 0.7]", "top_p 0.9 before temperature 0.7 judges the model's own"),
        ("[min_p: 0.1, temperature: 0.7]", "min_p 0.1 before temperature 0.7 judges the model's own"),
        ("[top_k: 40, repetition_penalty: 1.1]", "top_k before repetition_penalty has removed .*put repetition_penalty before top_k"),
        ("[temperature: 0.5, presence_penalty: 1]", "presence_penalty 1 after temperature 0.5 weighs as 0.5 would before it"),
        ("[repetition_penalty: {penalty: 1.1, last: 15}]", "repetition_penalty looks back over 15 tokens only.*last: 64"),
        ("[repetition_penalty: 2.5]", "repetition_penalty 2.5 is outside"),
        ("[top_k: 40, guidance: 1.5]", "top_k before guidance has removed what guidance might have let rise"),
        ("[temperature: 0.7, guidance: 1.5]", "guidance after temperature 0.7 sets .*put guidance before temperature"),
        ("[guidance: 0.5]", "guidance 0.5 is outside of what is in use: below 1"),
        ("[temperature: 3]", "temperature 3 is outside"),
        ("[top_p: 0.05]", "top_p 0.05 is outside"),
        ("[top_k: 20, top_k: 40]", "top_k 40 does nothing: top_k 20 before it"),
        ("[top_k: 40, temperature: 0]", "top_k does nothing: temperature 0 after it takes the likeliest"),
    ],
)  # fmt: skip
def test_what_is_hardly_meant_is_named_with_what_to_write_instead(pipeline, said):
    (found,) = warnings(Preset.loads(f"pipeline: {pipeline}", "p"))
    assert re.match(f"p, line 1: {said}", found)


@pytest.mark.parametrize(
    "pipeline",
    ["[top_p: 0.9, temperature: 1.5]", "[top_k: 40, temperature: 0.7]", "[repetition_penalty: {penalty: 1.1, last: 16}, temperature: 0]"],
)
def test_a_deliberate_order_is_left_in_peace(pipeline):
    assert warnings(Preset.loads(f"pipeline: {pipeline}", "p")) == []


def test_the_shipped_presets_are_clean():
    for path in (shipped.folder("configs") / "presets").glob("*.yaml"):
        assert warnings(Preset.load(path)) == []
