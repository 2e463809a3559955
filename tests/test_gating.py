"""Which endings exit with 3, and what is said of them."""

from __future__ import annotations

import os

import click
import pytest
from click.testing import CliRunner

from gencli.errors import UsageError
from gencli.events import Finished
from gencli.gating import check_gates, failing, verdict
from gencli.option_types import Command
from gencli.options import run_options
from gencli.terminal import Messages
from streams import pipe


@click.command(cls=Command)
@run_options
@click.pass_context
def asked(context: click.Context, **_: object) -> object:
    """A command with gates."""
    check_gates(context)
    return context


def context_of(*args, **environment):
    return CliRunner(env=environment).invoke(asked, args, standalone_mode=False, catch_exceptions=False).return_value


def ended(reason, sample=0, stop=None):
    return Finished(sample, "", reason, stop, 1, 1, None, None)


def said(context, *finished):
    with pipe(2) as read:
        code = verdict(context, finished, Messages())
        os.write(2, b"\0")  # so that there is something to read
        return code, os.read(read, 10_000).decode().removesuffix("\0")


def test_nothing_fails_unless_asked():
    context = context_of()
    assert failing(context) == {}
    assert said(context, ended("loop"), ended("gate")) == (0, "")


def test_what_fails():
    assert failing(context_of("--fail-on", "loop")) == {"loop": "--fail-on loop"}
    assert failing(context_of("--fail-on", "length")) == {"length": "--fail-on length", "context": "--fail-on length"}
    assert failing(context_of("--fail-on", "time", "--time-limit", "1")) == {"time": "--fail-on time"}
    assert failing(context_of("--stop-on", "loop")) == {}
    assert failing(context_of("--min-prob", "0.1", "--max-entropy", "0")) == {"gate": "--min-prob --max-entropy"}


def test_a_flag_wins_over_the_environment():
    assert failing(context_of("--stop-on", "loop", GENCLI_FAIL_ON="loop\nlength")).keys() == {"length", "context"}
    assert failing(context_of("--fail-on", "loop", GENCLI_STOP_ON="loop")) == {"loop": "--fail-on loop"}


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("--fail-on", "time"), "--fail-on time needs --time-limit SECONDS"),
        (("--stop-on", "time"), "--stop-on time needs --time-limit SECONDS"),
        (("--fail-on", "loop", "--stop-on", "loop"), "--fail-on loop exits with 3 and --stop-on loop with 0; give one of them."),
        (("--min-prob", "0"), "--min-prob must be greater than 0 and at most 1, not '0'"),
        (("--min-prob", "1.5"), "--min-prob must be greater than 0 and at most 1, not '1.5'"),
        (("--max-entropy", "-1"), "--max-entropy must be a number of bits from 0, not '-1'"),
        (("--max-entropy", "nan"), "--max-entropy must be a number of bits from 0, not 'nan'"),
    ],
)
def test_a_gate_that_cannot_work_is_a_sentence(args, sentence):
    with pytest.raises(UsageError) as error:
        context_of(*args)
    assert sentence in str(error.value)


def test_one_sentence_a_reason():
    context = context_of("--fail-on", "loop", "--fail-on", "length", "--min-prob", "0.1")
    assert said(context, ended("context")) == (3, "gencli: the context is full; --fail-on length exits with 3.\n")
    stop = "min_prob: 0.05 < 0.1"
    code, text = said(context, ended("end_token"), ended("gate", 1, stop), ended("gate", 2, stop), ended("loop", 3))
    assert code == 3
    assert text.splitlines() == [
        "gencli: sample 3: the text repeats itself; --fail-on loop exits with 3.",
        "gencli: 2 of 4 texts: a gate tripped (sample 1: min_prob: 0.05 < 0.1); --min-prob exits with 3.",
    ]
