"""`gencli diversity`: the installed command in a pipe and on a terminal, with small sizes."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import time
from subprocess import DEVNULL, PIPE

import jsonschema
import pytest

from gencli.commands.diversity import diversity
from gencli.diversity import Survey
from gencli.errors import UsageError
from gencli.schema import report_schema
from shell import Shell
from terminals import on_a_terminal

SMALL = ("diversity", "--seed", "3", "--samples", "4", "--max-new-tokens", "5", "--set", "temperature=0,1")
PROMPT = "Once upon a time"


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path)


def test_a_pipe_gets_plain_lines_and_nothing_else(shell):
    done = shell(*SMALL, PROMPT)
    assert (done.code, done.err) == (0, "")
    text = done.out.decode()
    assert text.startswith('4 samples a setting · seed 3 · "Once upon a time"\n')
    assert "\x1b" not in text
    assert "\r" not in text
    assert re.search(r"^unique texts\n  temperature=0 +25\.0 %  \(4\.6 to 69\.9\) ", text, re.MULTILINE)
    assert shell(*SMALL, stdin=PROMPT.encode()).out == done.out


def test_json_and_csv_hold_the_same_figures(shell):
    done = shell(*SMALL, "--format", "json", PROMPT)
    told = json.loads(done.out)
    jsonschema.validate(told, report_schema(Survey, "survey"))
    rows = list(csv.DictReader(io.StringIO(shell(*SMALL, "--format", "csv", PROMPT).out.decode())))
    assert [row["temperature"] for row in rows] == ["0", "1"]
    for row, setting in zip(rows, told["settings"], strict=True):
        assert row["setting"] == setting["name"]
        assert float(row["unique"]) == setting["variety"]["unique"]["value"]
        assert float(row["entropy"]) == setting["variety"]["entropy"]["value"]
        assert len(setting["texts"]) == 4


def test_a_text_is_that_of_generate(shell):
    told = json.loads(shell(*SMALL, "--format", "json", PROMPT).out)
    text = told["settings"][1]["texts"][2]["text"]
    flags = ("--seed", "3", "--first-sample", "2", "--max-new-tokens", "5", "--temperature", "1", "--no-newline")
    assert shell("generate", *flags, PROMPT).out.decode() == text


def test_a_terminal_sees_a_bar_and_then_only_the_table(shell):
    written, code = on_a_terminal(shell, (*SMALL, "--samples", "40", "--max-new-tokens", "30", PROMPT), columns=90)
    assert code == 0
    progress, _, table = written.decode().rpartition("\r\x1b[K")
    assert "\rloading the model\x1b[K" in progress
    assert re.search(r"\rtemperature=[01] [^\r]*%[^\r]*\x1b\[K", progress)
    assert "\n" not in progress
    assert "unique texts" in table
    assert "%" in table
    quiet, code = on_a_terminal(shell, (*SMALL, "--quiet", PROMPT))
    assert code == 0
    assert b"loading" not in quiet


def test_an_interrupt_ends_it_and_leaves_nothing(shell):
    process = shell.popen(*SMALL, "--samples", "5000", "--max-new-tokens", "200", PROMPT, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    time.sleep(2.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_a_reader_that_went_is_no_error(shell):
    words = " ".join(f"'{word}'" for word in SMALL)
    done = shell.sh(f"gencli {words} --format json '{PROMPT}' | true; exit ${{PIPESTATUS[0]}}")
    assert done.code in (0, 141)
    assert done.err == ""


def test_gates_fail_a_survey_as_they_fail_a_run(shell):
    done = shell(*SMALL, "--fail-on", "length", PROMPT)
    assert (done.code, done.err) == (3, "gencli: 8 of 8 texts: max_new_tokens was reached; --fail-on length exits with 3.\n")
    assert b"unique texts" in done.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--set", "temprature=0,1", "x"), "there is no stage 'temprature'. Did you mean 'temperature'? Choices: "),
        (("--set", "top_p=0.5,1.5", "x"), "--set top_p must be in (0, 1], not 1.5"),
        (("--preset", "creativ", "x"), "there is no preset 'creativ'. Did you mean 'creative'?"),
        (("--variant", "top_k=x", "x"), "--variant top_k must be a whole number at least 0, not 'x'"),
        (("--samples", "0", "x"), "--samples must be a whole number at least 1, not '0'"),
        (("--format", "yaml", "x"), "there is no value of --format 'yaml'. Choices: csv, json, table."),
        (("--checkpoint", "fable", "x"), "there is no checkpoint 'fable'. Did you mean 'fable-6m'"),
        (("--fail-on", "time", "x"), "--fail-on time needs --time-limit SECONDS"),
        (("--no-stdin",), "holds no prompt; give one as the argument"),
    ],
)
def test_what_is_wrong_is_a_sentence(arguments, sentence, monkeypatch):
    monkeypatch.delenv("GENCLI_CHECKPOINT", raising=False)
    with pytest.raises(UsageError, match=re.escape(sentence)):
        diversity.main(list(arguments), prog_name="gencli diversity", standalone_mode=False)
