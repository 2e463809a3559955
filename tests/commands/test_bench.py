"""`gencli bench`: the installed command in a pipe and on a terminal, with the smallest sizes."""

from __future__ import annotations

import json
import re
from dataclasses import fields

import pytest

from gencli.commands.bench import bench
from gencli.errors import UsageError
from gencli.measurement import Decode, Prefill, Report, Start, Trade
from shell import Shell
from terminals import on_a_terminal

TINY = ("bench", "--prompt-lengths", "4", "--batches", "1,2", "--new-tokens", "2", "--repeat", "1")


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path)


def keys(shape):
    return [each.name for each in fields(shape)]


def test_json_is_one_object_with_every_figure(shell):
    done = shell(*TINY, "--format", "json")
    assert (done.code, done.err) == (0, "")
    told = json.loads(done.out)
    assert list(told) == keys(Report)
    assert list(told["start"]) == keys(Start)
    assert [list(each) for each in told["prefill"]] == [keys(Prefill)]
    assert [list(each) for each in told["decode"]] == [keys(Decode)] * 2
    assert (told["checkpoint"]["name"], told["no_cache"], told["context"]) == ("fable-6m", [], [])
    assert told["threads"] == 1  # as `generate` would run it


@pytest.mark.slow
def test_a_pipe_gets_the_trade_and_the_growth_as_plain_lines(shell):
    done = shell(*TINY, "--no-cache", "--context")
    assert (done.code, done.err) == (0, "")
    text = done.out.decode()
    assert text.startswith("fable-6m: float32 on cpu, 1 thread; medians of 1 run")
    assert "\x1b" not in text
    assert "2 tokens after the prompt, prefill included" in text
    assert re.search(r"^in the cache +reads of it +of limit +to the first +a token\n +4 tokens .* 1\.00 x .*█$", text, re.MULTILINE)
    assert "decode after" not in text
    assert list(json.loads(shell(*TINY, "--no-cache", "--format", "json").out)["no_cache"][0]) == keys(Trade)


@pytest.mark.slow
def test_a_plot_is_drawn_with_its_axes(shell):
    done = shell(*TINY, "--format", "plot")
    assert (done.code, done.err) == (0, "")
    text = done.out.decode()
    assert "decode: tokens a second over rows" in text
    assert re.search(r"^ +1 +2$", text, re.MULTILINE)
    assert "\x1b" not in text


@pytest.mark.slow
def test_a_terminal_sees_what_is_being_measured_and_then_only_the_table(shell):
    written, code = on_a_terminal(shell, TINY)
    assert code == 0
    progress, _, table = written.decode().rpartition("\r\x1b[K")
    assert "\rmeasuring: importing torch, opening the model\x1b[K" in progress
    assert "\n" not in progress
    assert "fable-6m: float32 on cpu" in table
    assert "measuring" not in table
    written, code = on_a_terminal(shell, (*TINY, "--quiet"))
    assert code == 0
    assert b"measuring" not in written


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--prompt-lengths", "500"), "a prompt of 500 tokens and 32 new ones do not fit: the context of fable-6m holds 512 positions"),
        (("--prompt-lengths", "16,x"), "--prompt-lengths must be whole numbers from 1 between commas, not '16,x'"),
        (("--prompt-lengths", "0"), "--prompt-lengths must be whole numbers from 1 between commas, not '0'"),
        (("--batches", "1,,2"), "--batches must be whole numbers from 1 to 4096 between commas, not '1,,2'"),
        (("--batches", "9999"), "--batches must be whole numbers from 1 to 4096 between commas, not '9999'"),
        (("--new-tokens", "512"), "512 new tokens leave no room for a prompt: the context of fable-6m holds 512 positions"),
        (("--repeat", "0"), "--repeat must be a whole number from 1 to 1000, not '0'"),
        (("--checkpoint", "fable"), "there is no checkpoint 'fable'. Did you mean 'fable-6m'"),
        (("--format", "csv"), "there is no value of --format 'csv'"),
    ],
)
def test_what_cannot_be_measured_is_a_sentence(arguments, sentence, monkeypatch):
    monkeypatch.delenv("GENCLI_CHECKPOINT", raising=False)
    with pytest.raises(UsageError, match=re.escape(sentence)):
        bench.main(list(arguments), prog_name="gencli bench", standalone_mode=False)


def test_the_environment_is_named_where_it_is_wrong(monkeypatch):
    monkeypatch.setenv("GENCLI_BATCHES", "2,z")
    with pytest.raises(UsageError, match="GENCLI_BATCHES must be whole numbers"):
        bench.main([], prog_name="gencli bench", standalone_mode=False)
