"""`gencli score`: the installed command in a pipe, on a terminal, and its exit codes."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from gencli.commands.score import score
from gencli.errors import UsageError
from shell import Shell
from terminals import on_a_terminal

TEXT = "Once upon a time, there was a red elephant named Zoë."
PRESET = ("--preset", "creative")


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path)


def test_a_pipe_gets_a_row_a_token_and_the_figures(shell):
    done = shell("score", *PRESET, TEXT)
    assert (done.code, done.err) == (0, "")
    rows, figures, reach = done.out.decode().split("\n\n")
    quoted = re.findall(r'"(.*)"', rows)
    assert len(rows.splitlines()) == len(quoted) + 1
    assert "".join(quoted).replace("\ufffd", "").startswith("Once upon a time, there was a red elephant named Zo")
    assert "cut by top_k: rank " in rows
    assert [line[:18].strip() for line in figures.splitlines()] == ["scored", "log-probability", "bits per byte", "perplexity", "ranks"]
    assert re.match(r"preset creative +cannot have produced it along these tokens: \d+ of \d+ tokens are blocked\n", reach)


def test_every_form_tells_the_same(shell):
    told = json.loads(shell("score", *PRESET, "--format", "json", TEXT).out)
    *tokens, last = [json.loads(line) for line in shell("score", *PRESET, "--format", "jsonl", TEXT).out.splitlines()]
    assert [{key: value for key, value in token.items() if key != "event"} for token in tokens] == told.pop("tokens")
    assert {"event": "score", **told} == last
    rows = list(csv.DictReader(io.StringIO(shell("score", *PRESET, "--format", "csv", TEXT).out.decode())))
    assert [float(row["surprisal"]) for row in rows] == [token["surprisal"] for token in tokens]
    assert [row["removed_by"] or None for row in rows] == [token["removed_by"] for token in tokens]
    assert told["bytes"] == len(TEXT.encode())


def test_what_it_names_lets_the_text_through_when_it_is_typed(shell):
    """Through a shell, quotes and all."""
    told = json.loads(shell("score", *PRESET, "--format", "json", TEXT).out)
    changes = told["reach"]["changes"][:1] or told["reach"]["together"]
    assert changes
    typed = " ".join(change["typed"] for change in changes)
    assert shell.sh(f"gencli score --preset creative --fail-on unreachable {typed} '{TEXT}'").code == 0
    assert shell("score", *PRESET, "--fail-on", "unreachable", TEXT).code == 3


def test_where_the_text_comes_from(shell):
    (shell.folder / "text.txt").write_text(TEXT + "\n", encoding="utf-8")
    expected = shell("score", "--file", "text.txt").out
    assert shell("score", "-", stdin=TEXT.encode() + b"\n").out == expected
    assert shell("score", TEXT, stdin=b"not this").out == expected
    assert b"\\n" in shell("score", "--keep-newline", stdin=TEXT.encode() + b"\n").out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([""], "there is nothing to score: the text is empty."),
        (["--file", "none.txt"], "the text file none.txt cannot be read: No such file or directory."),
        (["--file", "none.txt", "x"], "TEXT and --file both name a text; give one of them."),
        (["--fail-on", "unreachable", "x"], "--fail-on unreachable needs a --preset, or a stage by its flag"),
        (["--top-p", "2", "x"], "--top-p must be in .0, 1., not 2"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        score.main(arguments, prog_name="gencli score", standalone_mode=False)


def test_nothing_at_all_and_what_is_no_text(shell):
    nothing, broken = shell("score"), shell("score", stdin=b"\xff")
    assert (nothing.code, broken.code) == (2, 2)
    assert "standard input holds no text; give one as the argument, with --file or through a pipe." in nothing.err
    assert "is not valid UTF-8: the byte 0xff at offset 0" in broken.err


def test_a_prompt_is_context_and_templates_go_around_it(shell):
    plain = json.loads(shell("score", "--format", "json", " a time", "--prompt", "Once upon").out)
    assert plain["tokens"][0]["rank"] == 1
    chat = json.loads(shell("score", "--preset", "chat", "--format", "json", "Hello!", "--prompt", "Hi").out)
    assert chat["prompt_tokens"] > 2


def test_a_stop_string_of_the_preset_is_told(shell):
    (shell.folder / "stop.yaml").write_text('pipeline: []\nstop: ["red"]\n', encoding="utf-8")
    told = shell("score", "--preset", "./stop.yaml", "--fail-on", "unreachable", TEXT)
    assert told.code == 3
    assert 'the end           a run would have ended at token 9, " red": a stop string was written ("red")' in told.out.decode()


def test_on_a_terminal_the_text_is_coloured(shell):
    written, code = on_a_terminal(shell, ["score", *PRESET, TEXT])
    assert code == 0
    text = written.decode()
    assert "\x1b[1;4;31m" in text or "\x1b[1;35m" in text
    assert re.sub("\x1b\\[[0-9;]*m", "", text).startswith(TEXT)
    assert max(len(line) for line in re.sub("\x1b\\[[0-9;]*m", "", text).split("\r\n")) <= 80


def test_without_colour_blocked_tokens_are_still_struck(shell):
    written, _ = on_a_terminal(shell, ["score", *PRESET, TEXT], env={"NO_COLOR": "1"})
    assert b"\x1b[2;9m" in written
    assert not re.search(rb"\x1b\[[0-9;]*3[0-9]m", written)


def test_a_dumb_terminal_gets_rows(shell):
    written, _ = on_a_terminal(shell, ["score", TEXT], env={"TERM": "dumb"})
    assert b"\x1b" not in written
    assert written.lstrip().startswith(b"rank    bits")


def test_hostile_text_is_shown_not_obeyed(shell):
    written, code = on_a_terminal(shell, ["score", "a\x1b[2J\x07b"], env={"NO_COLOR": "1"})
    assert code == 0
    assert b"\x1b[2J" not in written
    assert b"\x07" not in written


def test_a_long_file_has_a_bar_on_a_terminal_that_goes_away(shell):
    (shell.folder / "long.txt").write_text("The dragon went to the park and saw a dog. " * 120, encoding="utf-8")
    written, code = on_a_terminal(shell, ["score", "--file", "long.txt", "--top-k", "4000"])
    assert code == 0
    before, _, rest = written.decode().rpartition("\r\x1b[K")
    assert re.search(r"\rscoring [█▉▊▋▌▍▎▏ ]{24} +\d+ % of 1,[0-9]{3}", before)
    assert "scoring" not in rest


def test_a_chat_scores_an_answer_to_a_message(capfd):
    def told(*arguments):
        score.main([*arguments, "--format", "json"], prog_name="gencli score", standalone_mode=False)
        return json.loads(capfd.readouterr().out)

    written = told("--special", "--top-k", "40", "--prompt", "<|user|>\nBe kind.\nHello\n<|assistant|>\n", "I like soup.")
    assert told("--chat", "--system", "Be kind.", "--top-k", "40", "--prompt", "Hello", "I like soup.") == written
    typed = told("--chat", "--prompt", "Hello <|user|>", "I like soup.")
    assert typed["prompt_tokens"] > told("--chat", "--special", "--prompt", "Hello <|user|>", "I like soup.")["prompt_tokens"]
    for wrong, sentence in ((("--system", "x", "--prompt", "x"), "give --chat too"), (("--chat",), "give --prompt too")):
        with pytest.raises(UsageError, match=sentence):
            told(*wrong, "I like soup.")


def test_a_chat_asked_for_in_the_environment_waits_for_a_prompt(capfd, monkeypatch):
    monkeypatch.setenv("GENCLI_CHAT", "1")
    score.main(["I like soup.", "--format", "json"], prog_name="gencli score", standalone_mode=False)
    assert json.loads(capfd.readouterr().out)["prompt_tokens"] == 1
