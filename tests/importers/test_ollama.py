"""Ollama Modelfiles: its defaults, its quotation marks, and what no preset can say."""

from __future__ import annotations

import pytest

from gencli.errors import UsageError
from gencli.importers import sources

MODELFILE = '''FROM llama3.2
# a comment
parameter temperature 1.2
PARAMETER stop "<|start|>"
PARAMETER stop """a
b"""
PARAMETER repeat_penalty 1.1
PARAMETER num_ctx 4096
TEMPLATE """{{ if .System }}<|s|>{{ .System }}<|e|>{{ end }}<|u|>
{{ .Prompt }}<|e|><|a|>
{{ .Response }}<|e|>"""
SYSTEM You are "Mario", a plumber.
LICENSE """
MIT
"""
'''


def stages(found):
    return [(each.stage, {name: value.value for name, value in each.knobs}) for each in found.preset.pipeline]


def test_a_modelfile_becomes_a_preset(imported):
    found = imported("ollama", MODELFILE)
    assert stages(found) == [
        ("repetition_penalty", {"penalty": 1.1, "last": 64}),
        ("top_k", {"k": 40}),
        ("top_p", {"p": 0.9}),
        ("temperature", {"temperature": 1.2}),
    ]
    assert found.preset.get("stop") == ("<|start|>", "a\nb")
    assert found.preset.get("template") == '<|s|>You are "Mario", a plumber.<|e|><|u|>\n{}<|e|><|a|>\n'
    assert found.lost == ()
    assert found.aside == ("FROM llama3.2 (the model; gencli's is --checkpoint)", "num_ctx", "LICENSE")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SYSTEM be kind", 'SYSTEM "be kind": without a TEMPLATE'),
        ("TEMPLATE {{ range .Messages }}{{ end }}", "TEMPLATE in line 1: gencli's templates are plain texts and cannot say {{ range"),
        ("TEMPLATE hello", "TEMPLATE in line 1: the prompt stands in it 0 times"),
        ("MESSAGE user hi", 'MESSAGE "user hi": a preset holds no conversation'),
        ("ADAPTER ./a.gguf", "ADAPTER ./a.gguf: it changes the model's weights"),
        ("PARAMETER num_predict -1", "PARAMETER num_predict -1: a preset cannot ask for no limit"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_over_is_named(text, said, imported):
    (sentence,) = imported("ollama", text).lost
    assert sentence.startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "here is empty"),
        ("FROM a\nPARAMTER temperature 1", "here, line 2: there is no instruction 'PARAMTER'. Did you mean 'PARAMETER'?"),
        ("FROM a\nPARAMETER temprature 1", "here, line 2: there is no parameter 'temprature'. Did you mean 'temperature'?"),
        ("PARAMETER top_k many", 'here, line 1: top_k must be a whole number, not "many"'),
        ("PARAMETER top_k", "here, line 1: PARAMETER needs a name and a value"),
        ('FROM a\nSYSTEM """never\nclosed', "here, line 2: the quotation mark that opens here is never closed"),
        ("FROM a\x1b", "here, line 1: the control character U+001B"),
    ],
)
def test_a_damaged_modelfile_is_a_sentence_with_its_line(text, said):
    with pytest.raises(UsageError) as caught:
        sources()["ollama"].read(text, "here")
    assert str(caught.value).startswith(said)
