"""`gencli inspect-probs`: one step, several, answers and orders, in every form; the command in this process."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil

import pytest

from gencli.commands.inspect_probs import inspect_probs
from gencli.errors import UsageError
from shell import Shell
from terminals import on_a_terminal

STORY = "Once upon a time, there was a"


@pytest.fixture
def told(capfd):
    """What the command writes to stdout."""

    def run(*arguments):
        inspect_probs.main([*arguments, "--no-stdin"], prog_name="gencli inspect-probs", standalone_mode=False)
        out, err = capfd.readouterr()
        assert err == ""
        return out

    return run


def test_one_step_shows_no_token_that_was_taken(told):
    table = told("--preset", "creative", "--top", "3", STORY).splitlines()
    assert table[0].split() == ["raw", "repetition_penalty", "temperature", "top_k", "top_p"]
    assert [line.split('"')[1] for line in table if line.startswith('"')] == [" little", " big", " small"]
    assert [line[:15].strip() for line in table[-5:]] == ["entropy, bits", "varentropy", "kept", "removed", "KL to raw, bits"]
    whole = json.loads(told("--preset", "creative", "--top", "3", "--format", "json", STORY))
    assert set(whole) == {"raw_entropy", "raw_varentropy", "entropy", "stages", "candidates"}
    assert len(whole["candidates"]) == 3
    assert all(stage["varentropy"] >= 0 for stage in whole["stages"])


def test_steps_along_a_text(told):
    words = ("--preset", "creative", "--top", "2", "--text", " logarithm of", STORY)
    steps = json.loads(told("--format", "json", *words))["steps"]
    assert "".join(step["text"] for step in steps) == " logarithm of"
    assert steps[0]["logprob"] is None
    assert steps[0]["candidates"][-1]["removed_by"] == "top_k"
    rows = list(csv.DictReader(io.StringIO(told("--format", "csv", *words))))
    assert sorted({int(row["step"]) for row in rows}) == list(range(len(steps)))
    assert [row["id"] for row in rows if row["chosen"] == "1"] == [str(step["id"]) for step in steps]
    table = told(*words)
    assert table.startswith("step 1: ")
    assert table.count("▸ ") == len(steps)


def test_sampled_steps_repeat_with_their_seed(told):
    one = told("--steps", "4", "--along", "sampled", "--seed", "5", "--format", "json", STORY)
    assert told("--steps", "4", "--along", "sampled", "--seed", "5", "--format", "json", STORY) == one
    assert len(json.loads(one)["steps"]) == 4


def test_answers_keep_their_spaces_and_share_what_they_have(told):
    words = ("--choices", " cat, dragon", "--choice", " cat, dog", "--preset", "creative", "The girl had a")
    choices = json.loads(told("--format", "json", *words))["choices"]
    assert [choice["text"] for choice in choices] == [" cat", " dragon", " cat, dog"]
    assert sum(choice["raw_share"] for choice in choices) == pytest.approx(1)
    assert choices[2]["raw_logprob"] == pytest.approx(sum(token["raw_logprob"] for token in choices[2]["tokens"]))
    assert len(choices[2]["tokens"]) > 1
    rows = list(csv.DictReader(io.StringIO(told("--format", "csv", *words))))
    assert [float(row["raw_share"]) for row in rows] == [choice["raw_share"] for choice in choices]
    assert "token by token, along the tokenizer's own path of each answer:" in told(*words)


def test_orders_in_every_form(told):
    words = ("--order-what-if", "--preset", "factual", STORY)
    outcomes = json.loads(told("--format", "json", *words))["outcomes"]
    assert sum(len(outcome["orders"]) for outcome in outcomes) == 6
    rows = list(csv.DictReader(io.StringIO(told("--format", "csv", *words))))
    assert [row["order"] for row in rows if row["own"] == "1"] == ["temperature > top_k > top_p"]
    assert len(rows) == 6
    assert told(*words).startswith("6 orders of the stages, ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--choices", "a,,b"], "--choices must be answers between commas, none of them empty"),
        (["--choices", "a,b", "--steps", "2"], "--choices or --choice and --steps ask for different things"),
        (["--order-what-if", "--text", "x"], "--order-what-if and --text ask for different things"),
        (["--choice", "x", "--order-what-if"], "--choices or --choice and --order-what-if ask for"),
        (["--text", "x", "--along", "greedy"], "--text and --along both say what comes next"),
        (["--steps", "0"], "--steps must be a whole number at least 1"),
    ],
)
def test_what_cannot_be_asked_together(arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        inspect_probs.main([*arguments, "x"], prog_name="gencli inspect-probs", standalone_mode=False)


def test_on_a_terminal_every_line_fits(tmp_path):
    for arguments in (
        ["--text", " zebra", "--preset", "creative"],
        ["--choices", " cat, zebra\x1b[2J"],
        ["--order-what-if", "--preset", "factual"],
    ):
        written, code = on_a_terminal(Shell(tmp_path), ["inspect-probs", *arguments, STORY], columns=60)
        assert code == 0
        assert b"\x1b[2J" not in written
        # a progress line, which a slow machine shows, is overwritten from its first column on
        lines = re.split("\r\n|\r(?:\x1b\\[K)?", re.sub("\x1b\\[[0-9;]*m", "", written.decode()))
        assert max(len(line) for line in lines if "›" not in line and "token by" not in line) <= 60


def test_a_chat_is_asked_in_the_form_of_its_template(told):
    plain = told("--special", "--steps", "3", "--format", "json", "<|user|>\nBe kind.\nHello\n<|assistant|>\n")
    assert told("--chat", "--system", "Be kind.", "--steps", "3", "--format", "json", "Hello") == plain
    assert told("--chat", "--steps", "3", "--format", "json", "Hello") != plain
    choices = told("--choices", "yes,no", "--special", "--format", "csv", "<|user|>\nHello\n<|assistant|>\n")
    assert told("--choices", "yes,no", "--chat", "--format", "csv", "Hello") == choices
    with pytest.raises(UsageError, match="give --chat too"):
        told("--system", "Be kind.", "Hello")


def test_a_chat_ends_where_its_template_ends_an_answer(told, fable, tmp_path):
    """What the template writes behind an answer is an end token, and so one that min_new_tokens holds back."""
    for file in fable.iterdir():
        if file.name not in ("tokenizer_config.json", "generation_config.json"):
            shutil.copy(file, tmp_path)
    form = "{% for m in messages %}<|user|>{{ m.content }}<|assistant|>\n{% endfor %}"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": form}))
    asked = ("--checkpoint", str(tmp_path), "--min-new-tokens", "1", "--top", "5000", "--format", "json", "Hi")
    removed = {each["id"] for each in json.loads(told("--chat", *asked))["candidates"] if each["removed_by"] == "min_new_tokens"}
    assert 2 in removed
    assert 2 not in {each["id"] for each in json.loads(told(*asked))["candidates"] if each["removed_by"]}
