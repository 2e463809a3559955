"""`gencli compare`: the installed command in a pipe and on a terminal, with small sizes."""

from __future__ import annotations

import csv
import io
import json
import re

import jsonschema
import pytest

from gencli.commands.compare import compare
from gencli.comparison import Comparison
from gencli.comparison_report import MARK
from gencli.errors import UsageError
from gencli.schema import report_schema
from shell import Shell
from terminals import on_a_terminal

SMALL = ("compare", "--seed", "3", "--samples", "3", "--max-new-tokens", "8")
PROMPT = "Once upon a time"


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path)


def test_a_pipe_gets_plain_lines_and_nothing_else(shell):
    done = shell(*SMALL, "--preset", "creative", "--preset", "factual", "--variant", "temperature=0.5,top_k=5", PROMPT)
    assert (done.code, done.err) == (0, "")
    text = done.out.decode()
    assert text.startswith('seed 3, 3 noises, 24 tokens of creative · "Once upon a time"\n')
    assert "\x1b" not in text
    assert "\r" not in text
    assert MARK in text
    for name in ("creative", "factual", "creative temperature=0.5 top_k=5", "luck: other noise"):
        assert re.search(f"^{re.escape(name)}  ", text, re.MULTILINE) or name == "creative"


def test_equal_presets_never_part(shell):
    told = json.loads(shell(*SMALL, "--preset", "creative", "--preset", "creative", "--format", "json", PROMPT).out)
    jsonschema.validate(told, report_schema(Comparison, "comparison"))
    first, second = told["contenders"]
    assert first["runs"] == second["runs"]
    assert [run["parts_at"] for run in second["runs"]] == [None] * 3
    assert second["distance"]["value"] == second["changed"]["value"] == 0.0


def test_csv_has_a_line_for_every_token_and_every_other_setting(shell):
    done = shell(*SMALL, "--set", "temperature=0.5,1,1.5", "--format", "csv", PROMPT)
    rows = list(csv.DictReader(io.StringIO(done.out.decode())))
    assert len(rows) == 2 * 24
    assert {row["first"] for row in rows} == {"temperature=0.5"}
    assert [row["setting"] for row in rows[::24]] == ["temperature=1", "temperature=1.5"]
    assert all(0 <= float(row["distance"]) <= 1 for row in rows)
    assert all(row["only_first"] == row["only_other"] == "0" for row in rows)  # temperatures remove nothing


def test_a_terminal_sees_a_bar_and_then_only_the_tables(shell):
    written, code = on_a_terminal(shell, (*SMALL, "--preset", "creative", "--preset", "chat", PROMPT), columns=90)
    assert code == 0
    progress, _, table = written.decode().rpartition("\r\x1b[K")
    assert "\rloading the model\x1b[K" in progress
    assert "\n" not in progress
    assert "parts at step" in table
    quiet, code = on_a_terminal(shell, (*SMALL, "--preset", "creative", "--preset", "chat", "--quiet", PROMPT))
    assert code == 0
    assert b"loading" not in quiet


def test_the_environment_counts(shell):
    environment = {"GENCLI_PRESET": "creative\nfactual", "GENCLI_SAMPLES": "1", "GENCLI_MAX_NEW_TOKENS": "2", "GENCLI_VARIANT": "top_k=3"}
    told = json.loads(shell("compare", "--format", "json", PROMPT, env=environment).out)
    assert [each["name"] for each in told["contenders"]] == ["creative", "factual", "creative top_k=3"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("x",), "there is 1 setting and 2 are needed; repeat --preset, give --variant"),
        (("--preset", "creative", "x"), "there is 1 setting and 2 are needed"),
        (("--preset", "creative", "--preset", "chatt", "x"), "there is no preset 'chatt'. Did you mean 'chat'?"),
        (("--variant", "temp=1", "x"), "--variant temp=1: there is no stage 'temp'"),
        (("--variant", "", "x"), "--variant must not be empty"),
        (("--set", "temperature=1,2", "--temperature", "3", "x"), "--temperature and --set temperature=1 set the same to different values"),
        (("--top", "-1", "x"), "--top must be a whole number from 0, not '-1'"),
    ],
)
def test_what_is_wrong_is_a_sentence(arguments, sentence, monkeypatch):
    monkeypatch.delenv("GENCLI_CHECKPOINT", raising=False)
    with pytest.raises(UsageError, match=re.escape(sentence)):
        compare.main(list(arguments), prog_name="gencli compare", standalone_mode=False)
