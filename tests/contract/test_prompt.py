"""The contract's chapter "Prompt and stdin", each line through the installed command."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

RUN = ("generate", "--temperature", "0", "--max-new-tokens", "1", "--format", "json")


def prompt_of(result):
    assert result.code == 0, result.err
    return json.loads(result.out)["start"]["prompt"]


def test_an_argument_is_the_prompt(shell):
    assert prompt_of(shell(*RUN, "Once upon")) == "Once upon"


@pytest.mark.parametrize(
    ("typed", "prompt"), [(b"From a pipe\n", "From a pipe"), (b"two\n\n", "two\n"), (b"none", "none"), (b"crlf\r\n", "crlf\r")]
)
def test_stdin_is_the_prompt_without_its_final_newline(shell, typed, prompt):
    assert prompt_of(shell(*RUN, stdin=typed)) == prompt


def test_keep_newline_keeps_it(shell):
    assert prompt_of(shell(*RUN, "--keep-newline", stdin=b"kept\n")) == "kept\n"


def test_a_dash_is_stdin(shell):
    assert prompt_of(shell(*RUN, "-", stdin=b"dash\n")) == "dash"


def test_stdin_goes_before_the_argument(shell):
    assert prompt_of(shell(*RUN, "Why?", stdin=b"A fact.\n")) == "A fact.\n\nWhy?"


def test_stdin_from_a_file_goes_before_the_argument(shell):
    (shell.folder / "facts").write_text("A fact.\n")
    with open(shell.folder / "facts", "rb") as file:
        done = subprocess.run([shell.command, *RUN, "Why?"], stdin=file, capture_output=True, cwd=shell.folder, env=shell.env, check=False)
    assert json.loads(done.stdout)["start"]["prompt"] == "A fact.\n\nWhy?"


@pytest.mark.parametrize("stdin", [None, b""])
def test_empty_stdin_counts_as_absent(shell, stdin):
    assert prompt_of(shell(*RUN, "alone", stdin=stdin)) == "alone"


def test_no_stdin_turns_it_off(shell):
    assert prompt_of(shell(*RUN, "--no-stdin", "alone", stdin=b"ignored")) == "alone"


def test_prompt_file(shell):
    (shell.folder / "p.txt").write_text("From a file\n")
    assert prompt_of(shell(*RUN, "--prompt-file", "p.txt")) == "From a file"


def test_nothing_at_all_is_wrong_usage_not_a_hang(shell):
    for stdin in (None, b""):
        result = shell("generate", stdin=stdin)
        assert result.code == 2
        assert result.out == b""
        assert "prompt" in result.err


def test_an_explicit_empty_prompt_starts_from_the_end_token_of_a_checkpoint_without_a_start_token(shell):
    result = shell(*RUN, "")
    assert prompt_of(result) == ""
    assert json.loads(result.out)["start"]["prompt_ids"] == [0]


def test_an_explicit_empty_prompt_starts_from_the_start_token(shell, real_data):
    result = shell(*RUN, "--checkpoint", str(real_data / "stories260k"), "")
    assert json.loads(result.out)["start"]["prompt_ids"] == [1]


def test_start_tokens_are_the_tokenizers_own(shell, real_data):
    from tokenizers import Tokenizer

    oracle = Tokenizer.from_file(str(real_data / "stories260k" / "tokenizer.json"))
    result = shell(*RUN, "--checkpoint", str(real_data / "stories260k"), "Once upon a time")
    assert json.loads(result.out)["start"]["prompt_ids"] == oracle.encode("Once upon a time").ids


def test_special_token_text_stays_text_unless_asked(shell):
    plain = json.loads(shell(*RUN, "<|user|>").out)["start"]["prompt_ids"]
    special = json.loads(shell(*RUN, "--special", "<|user|>").out)["start"]["prompt_ids"]
    assert len(plain) > 1
    assert special == [1]


def test_generated_special_tokens_print_only_when_asked(shell):
    forced = ("generate", "--logit-bias", "1=1000", "--ignore-end", "--max-new-tokens", "2", "Hi")
    assert shell(*forced).out == b"\n"
    assert shell(*forced, "--special").out == b"<|user|><|user|>\n"


def test_invalid_utf8_tells_the_byte(shell):
    result = shell("generate", stdin=b"good\xff")
    assert result.code == 2
    assert "4" in result.err
    assert "UTF-8" in result.err
    assert result.out == b""


def test_invalid_utf8_in_an_argument_and_a_file(shell):
    (shell.folder / "bad").write_bytes(b"ab\xc3")
    for result in (shell("generate", b"ab\xff"), shell("generate", "--prompt-file", "bad")):
        assert result.code == 2
        assert "2" in result.err
        assert "UTF-8" in result.err


def test_nul_is_a_character(shell):
    assert prompt_of(shell(*RUN, stdin=b"a\0b")) == "a\0b"


def test_a_prompt_that_cannot_fit_is_refused_at_once(shell):
    result = shell("generate", stdin=b"word " * 2_000_000)
    assert result.code == 2
    assert "context" in result.err
    assert len(result.err) < 1000


def test_a_prompt_of_more_tokens_than_the_context(shell):
    result = shell("generate", stdin=b"a b c d " * 200)
    assert result.code == 2
    assert "512" in result.err


def test_a_missing_prompt_file(shell):
    result = shell("generate", "--prompt-file", "absent.txt")
    assert result.code == 2
    assert "absent.txt" in result.err


def test_a_template_holds_the_prompt_and_its_special_tokens(shell):
    start = json.loads(shell(*RUN, "--preset", "chat", "Hi <|user|>").out)["start"]
    assert start["prompt_ids"][0] == 1
    assert start["prompt_ids"].count(1) == 1  # what was typed never becomes a special token
    assert start["prompt_ids"].count(2) == 1


def test_a_chat_has_the_form_that_the_checkpoint_was_taught(shell):
    start = json.loads(shell(*RUN, "--chat", "--system", "Be <|assistant|>", "Hi <|user|>").out)["start"]
    assert start["prompt"] == "<|user|>\nBe <|assistant|>\nHi <|user|>\n<|assistant|>\n"
    assert (start["prompt_ids"].count(1), start["prompt_ids"].count(2)) == (1, 1)  # the template's own
    special = json.loads(shell(*RUN, "--chat", "--special", "Hi <|user|>").out)["start"]
    assert special["prompt_ids"].count(1) == 2


def test_a_chat_that_cannot_be_is_refused(shell, fable):
    alone = shell(*RUN, "--system", "Be kind.", "Hi")
    assert (alone.code, alone.err) == (2, "gencli: --system is the first message of a chat; give --chat too.\n")
    assert prompt_of(shell(*RUN, "Hi", env={"GENCLI_SYSTEM": "Be kind."})) == "Hi"  # there for those runs that are chats
    for file in fable.iterdir():
        if file.name != "tokenizer_config.json":
            shutil.copy(file, shell.folder)
    none = shell(*RUN, "--chat", "--checkpoint", "./", "Hi")
    assert none.code == 2
    assert "brings no chat template" in none.err
    (shell.folder / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": "{{ messages[0].content }}\n{{ raise_exception('no \x1b[31m') }}"})
    )
    fails = shell(*RUN, "--chat", "--checkpoint", "./", "Hi")
    assert fails.code == 1
    assert "tokenizer_config.json, line 2: no" in fails.err
    assert "\x1b" not in fails.err


def test_a_chat_ends_where_the_template_ends_an_answer(shell, fable):
    for file in fable.iterdir():
        if file.name not in ("tokenizer_config.json", "generation_config.json"):
            shutil.copy(file, shell.folder)
    form = "{% for m in messages %}<|user|>{{ m.content }}<|assistant|>\n{% endfor %}"
    (shell.folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": form}))
    start = json.loads(shell(*RUN, "--chat", "--checkpoint", "./", "Hi").out)["start"]
    assert start["preset"]["settings"]["end_tokens"] == {"value": [2], "origin": "the checkpoint's chat template"}
    words = "{% for m in messages %}{{ ['She', 'He'][loop.index0 % 2] }} says: {{ m.content }}\n{% endfor %}"
    (shell.folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": words}))
    start = json.loads(shell(*RUN, "--chat", "--checkpoint", "./", "--stop", "x", "Hi").out)["start"]
    assert start["preset"]["settings"]["stop"]["value"] == ["x", "\nShe says:"]
