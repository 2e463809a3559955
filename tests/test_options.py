"""Options made from stage knobs, and what of the command line and the environment they hand on."""

from __future__ import annotations

import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from gencli.cli import gencli
from gencli.errors import UsageError
from gencli.option_types import Command, Group
from gencli.options import checkpoint_option, flag_of, model_options, pipeline_options, prompt_options, run_options, settings_from
from gencli.preset import Value
from gencli.registry import find, names
from gencli.settings import resolve
from gencli.stages import knobs


@click.command(cls=Command)
@prompt_options
@pipeline_options
@model_options
@run_options
@click.pass_context
def everything(context: click.Context, **_: object) -> object:
    """A command with all of the shared options."""
    return context.params, settings_from(context)


def run(*args, **environment):
    result = CliRunner(env={key: str(value) for key, value in environment.items()}).invoke(
        everything, args, standalone_mode=False, catch_exceptions=False
    )
    return result.return_value


def params(*args, **environment):
    return run(*args, **environment)[0]


def given(*args, **environment):
    return run(*args, **environment)[1]


def test_every_stages_first_knob_is_a_flag_with_its_range():
    text = CliRunner().invoke(everything, ["--help"], terminal_width=10_000).output
    for name in names("stages"):
        knob = knobs(find("stages", name))[0]
        (line,) = re.findall(
            rf"^ *--{name.replace('_', '-')}[ ,].*(?:\n {{9,}}.*)?", text, re.MULTILINE
        )  # a long flag's help stands below it
        assert knob.help in line
        assert ("several" if knob.holds_several else knob.range()) in line


def test_help_is_in_sections_and_names_every_option_of_the_contract():
    text = CliRunner().invoke(everything, ["--help"]).output
    places = [text.index(f"\n{title}:\n") for title in ("Options", "Prompt", "Pipeline", "Model", "Run")]
    assert places == sorted(places)
    flags = (
        "--checkpoint --precision --device --threads --seed --samples --first-sample --max-new-tokens --min-new-tokens --ignore-end --stop "
    )
    flags += "--stop-inclusive --time-limit --no-cache --overflow --fail-on --stop-on --min-prob --max-entropy --preset --set --pipeline "
    flags += "--prompt-file --no-stdin --keep-newline --special"
    for flag in flags.split():
        assert f"  {flag} " in text


def test_an_alias_is_a_flag_and_the_stages_name_is_told():
    origin = "flag --repetition-penalty"
    assert given("--repeat-penalty", "1.5").flags == {"repetition_penalty": Value(1.5, origin)}
    with pytest.raises(UsageError, match=r"^--repetition-penalty must be"):
        given("--repeat-penalty", "x")


def test_every_option_reads_its_variable():
    for parameter in everything.params:
        if isinstance(parameter, click.Option):
            flag = next(word for word in parameter.opts if word.startswith("--"))
            assert parameter.envvar == "GENCLI_" + flag[2:].upper().replace("-", "_")


def every_command(command: click.Command, words: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words that call it."""
    if not isinstance(command, click.Group):
        return [(words, command)]
    context = click.Context(command)
    return [each for name in command.list_commands(context) for each in every_command(command.get_command(context, name), (*words, name))]


def test_the_variable_of_a_flag_is_the_same_for_all_commands(monkeypatch, capfd):
    found = [(words, each) for words, command in every_command(gencli) for each in command.params if isinstance(each, click.Option)]
    assert len({words for words, _ in found}) > 10
    for words, each in found:
        flag = next(word for word in each.opts if word.startswith("--"))
        assert each.envvar == "GENCLI_" + flag[2:].upper().replace("-", "_"), words
    monkeypatch.setenv("GENCLI_FORMAT", "json")
    gencli.main(["stages", "top_k"], standalone_mode=False)
    assert capfd.readouterr().out.startswith("[")
    monkeypatch.setenv("GENCLI_FORMAT", "jsonl")
    with pytest.raises(UsageError, match=r"there is no value of GENCLI_FORMAT 'jsonl'.*Choices: json, table"):
        gencli.main(["stages", "top_k"], standalone_mode=False)


def test_flags_become_values_with_origins():
    asked = given(
        "--top-k",
        "5",
        "--temperature",
        "3e-1",
        "--stop",
        "a",
        "--stop",
        "b c",
        "--max-new-tokens",
        "7",
        GENCLI_TOP_P="0.9",
        GENCLI_TOP_K="9",
    )
    assert asked.flags == {
        "top_k": Value(5, "flag --top-k"),
        "temperature": Value(0.3, "flag --temperature"),
        "top_p": Value(0.9, "environment GENCLI_TOP_P"),
        "stop": Value(("a", "b c"), "flag --stop"),
        "max_new_tokens": Value(7, "flag --max-new-tokens"),
    }
    assert (asked.preset, asked.sets, asked.pipeline) == (None, [], None)


def test_set_pipeline_and_preset():
    asked = given("--set", "top_k=5", "--set", "min_p=0.1", "--pipeline", "min_p,top_k", "--preset", "chat")
    assert asked.sets == [Value("top_k=5", "flag --set"), Value("min_p=0.1", "flag --set")]
    assert asked.pipeline == Value("min_p,top_k", "flag --pipeline")
    assert asked.preset == "chat"
    assert given("--pipeline", "").pipeline == Value("", "flag --pipeline")
    asked = given(GENCLI_SET="top_k=5\nlogit_bias= the=1", GENCLI_PIPELINE="top_k", GENCLI_PRESET="greedy")
    assert asked.sets == [Value("top_k=5", "environment GENCLI_SET"), Value("logit_bias= the=1", "environment GENCLI_SET")]
    assert asked.pipeline == Value("top_k", "environment GENCLI_PIPELINE")
    assert asked.preset == "greedy"


def test_token_biases_repeat():
    entries = ((" the", -2), (5, -float("inf")), ("a=b", 1))
    assert given("--logit-bias", " the=-2", "--logit-bias", "5=-inf", "--logit-bias", "a=b=1").flags["logit_bias"].value == entries
    assert given(GENCLI_LOGIT_BIAS=" the=-2\n5=-inf\na=b=1").flags["logit_bias"] == Value(entries, "environment GENCLI_LOGIT_BIAS")
    assert resolve(given("--logit-bias", "a=1", "--logit-bias", "b=2")).pipeline[0].knobs[0][1].value == (("a", 1.0), ("b", 2.0))


def test_one_variable_holds_one_stop_text_and_several_gates():
    assert params(GENCLI_STOP="a b\n")["stop"] == ("a b\n",)
    assert params(GENCLI_FAIL_ON="loop\ntime")["fail_on"] == ("loop", "time")
    assert params(GENCLI_NO_CACHE="1", GENCLI_IGNORE_END="0", GENCLI_SPECIAL="")["no_cache"] is True


def test_defaults():
    found = params()
    assert {key: value for key, value in found.items() if value not in (None, ()) and value is not False} == {
        "precision": "auto", "device": "cpu", "samples": 1, "first_sample": 0, "overflow": "error",
    }  # fmt: skip
    assert given().flags == {}


@pytest.mark.parametrize("text", ["0", "9223372036854775807"])
def test_seeds_have_63_bits(text):
    assert params("--seed", text)["seed"] == int(text)


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--seed", "-1", "--seed must be a whole number from 0 to 2^63-1, not '-1'."),
        ("--seed", "9223372036854775808", "--seed must be a whole number from 0 to 2^63-1"),
        ("--seed", "1.0", "--seed must be a whole number"),
        ("--seed", "x" * 5000, "--seed must be a whole number"),
        ("--samples", "0", "--samples must be a whole number at least 1, not '0'."),
        ("--samples", "1_000", "--samples must be a whole number"),
        ("--first-sample", "-1", "--first-sample must be a whole number from 0"),
        ("--max-new-tokens", "0", "--max-new-tokens must be a whole number at least 1"),
        ("--threads", "0", "--threads must be a whole number from 1 to 1024"),
        ("--threads", "true", "--threads must be a whole number from 1 to 1024"),
        ("--time-limit", "0", "--time-limit must be a number of seconds greater than 0, not '0'."),
        ("--time-limit", ".inf", "--time-limit must be"),
        ("--time-limit", ".nan", "--time-limit must be"),
        ("--time-limit", "soon", "--time-limit must be"),
        ("--top-k", "-1", "--top-k must be a whole number at least 0, not -1."),
        ("--top-k", "2.5", "--top-k must be a whole number"),
        ("--top-p", "0", "--top-p must be in (0, 1], not 0."),
        ("--top-p", "", "--top-p must be in (0, 1], not ''."),
        ("--temperature", "hot", "--temperature must be in [0, 100], not 'hot'."),
        ("--logit-bias", "x", "--logit-bias must be TEXT_OR_ID=NUMBER"),
        ("--logit-bias", "x=.inf", "--logit-bias: the bias of 'x'"),
        ("--overflow", "slid", "there is no value of --overflow 'slid'. Did you mean 'slide'? Choices: error, slide."),
        ("--precision", "flot32", "Did you mean 'float32'?"),
        ("--fail-on", "loops", "there is no value of --fail-on 'loops'. Did you mean 'loop'? Choices: length, loop, time."),
        ("--stop", "", "--stop must not be empty."),
        ("--preset", "", "--preset must not be empty."),
        ("--stop", "\udcff", "--stop is not UTF-8 text."),
    ],
)
def test_a_value_out_of_range_is_a_sentence_that_names_the_flag_or_the_variable(flag, value, said):
    with pytest.raises(UsageError) as error:
        run(flag, value)
    assert said in str(error.value)
    assert len(str(error.value)) < 500
    if value and "\udcff" not in value:
        variable = "GENCLI_" + flag[2:].upper().replace("-", "_")
        with pytest.raises(UsageError) as error:
            run(**{variable: value})
        assert said.replace(flag, variable) in str(error.value)


def test_an_unknown_flag_gets_the_nearest_name():
    with pytest.raises(click.NoSuchOption) as error:
        run("--temprature", "1")
    assert "--temperature" in error.value.format_message()


def complete(text, *args):
    """What the shell is offered for the last word."""
    from click.shell_completion import ShellComplete

    return [item.value for item in ShellComplete(everything, {}, "x", "_X_COMPLETE").get_completions(list(args), text)]


def test_names_complete(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert complete("c", "--preset") == ["chat", "code", "creative"]
    assert complete("./x", "--preset") == ["./x"]  # the shell takes over: a file
    assert "fable-6m" in complete("", "--checkpoint")
    top = [name for name in names("stages") if name.startswith("top")]
    assert complete("top", "--pipeline") == top
    assert complete("min_p,top", "--pipeline") == [f"min_p,{name}" for name in top]
    assert complete("top", "--set") == [f"{name}=" for name in top]
    assert complete("repetition_penalty#2.", "--set") == [f"repetition_penalty#2.{name}=" for name in ("penalty", "last", "scope")]
    assert complete("nothing.", "--set") == []
    assert complete("", "--overflow") == ["error", "slide"]
    assert complete("l", "--fail-on") == ["loop", "length"]
    assert complete("c", "--device") == ["cpu", "cuda"]
    assert sorted(complete("--top-", "x")) == [flag_of(name) for name in top]
    assert complete("tfs.", "--set") == ["tfs.z="]


def test_a_group_answers_an_unknown_command_with_the_nearest():
    group = Group("things", commands=[click.Command("list"), click.Command("show")])
    with pytest.raises(UsageError, match=r"there is no things command 'lst'. Did you mean 'list'"):
        group.main(["lst"], prog_name="things", standalone_mode=False)
    with pytest.raises(UsageError, match=r"things needs a command. Choices: list, show"):
        group.main([], prog_name="things", standalone_mode=False)


def test_one_option_may_stand_alone():
    command = click.command()(checkpoint_option(lambda checkpoint: checkpoint))
    assert command.main(["--checkpoint", "x"], standalone_mode=False) == "x"


def test_importing_the_options_loads_nothing_heavy():
    program = (
        "import gencli.options, sys; print(sorted({'torch', 'numpy', 'yaml', 'rich', 'tokenizers', 'safetensors'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
