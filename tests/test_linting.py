"""What a preset can say but hardly mean."""

from __future__ import annotations

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
        ("[logit_bias: {}]", ["p, line 1: logit_bias does nothing: its entries are empty."]),
        ("[temperature: 0, top_k: 40, top_p: 1]", ["p, line 1: top_k does nothing: temperature 0 before it leaves one token.",
                                                   "p, line 1: top_p does nothing: temperature 0 before it leaves one token."]),
        ("[top_k: 1, temperature: 0]", ["p, line 1: temperature does nothing: top_k 1 before it leaves one token."]),
        ("[repetition_penalty: 1.1, temperature: 0]", []),
    ],
)  # fmt: skip
def test_stages_that_do_nothing_are_named(pipeline, said):
    assert warnings(Preset.loads(f"pipeline: {pipeline}", "p")) == said


def test_the_shipped_presets_are_clean():
    for path in (shipped.folder("configs") / "presets").glob("*.yaml"):
        assert warnings(Preset.load(path)) == []
