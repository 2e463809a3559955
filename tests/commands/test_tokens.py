"""`gencli tokens`: ids, pieces and bytes, which together are the text."""

from __future__ import annotations

import json

import pytest

from gencli.commands.tokens import tokens
from gencli.errors import UsageError


@pytest.fixture
def run(capfd):
    def go(*args: str) -> str:
        tokens.main([*args, "--no-stdin"], prog_name="gencli tokens", standalone_mode=False)
        out: str = capfd.readouterr().out
        return out

    return go


@pytest.mark.parametrize("text", ["Once upon a time", " naïve café", "a\n\tb", "🙂", "[bold]", "\x1b[2J", "x"])
def test_the_bytes_of_the_tokens_are_the_text(run, text):
    found = json.loads(run(text, "--format", "json"))
    assert b"".join(bytes.fromhex(each["bytes"]) for each in found) == text.encode()
    assert all(each["text"] == bytes.fromhex(each["bytes"]).decode("utf-8", "replace") for each in found)


def test_the_ids_are_the_tokenizers_own(run, fable):
    from tokenizers import Tokenizer

    text = "The dragon's café 🙂"
    found = json.loads(run(text, "--format", "json"))
    assert [each["id"] for each in found] == Tokenizer.from_file(str(fable / "tokenizer.json")).encode(text, add_special_tokens=False).ids


def test_the_table_says_the_same_and_is_harmless(run):
    text = "Once upon\n\x1b[2J naïve"
    header, *rows = run(text).splitlines()
    found = json.loads(run(text, "--format", "json"))
    assert header.split() == ["id", "text", "bytes"]
    assert [int(row.split()[0]) for row in rows] == [each["id"] for each in found]
    assert "\x1b" not in "".join(rows)


def test_special_text_is_special_only_where_asked(run):
    asked = json.loads(run("<|user|>", "--special", "--format", "json"))
    plain = json.loads(run("<|user|>", "--format", "json"))
    assert len(asked) == 1 < len(plain)
    assert "".join(each["text"] for each in plain) == asked[0]["text"] == "<|user|>"


def test_a_chat_is_cut_as_its_template_writes_it(run):
    plain = json.loads(run("--chat", "--system", "Be <|user|>", "Hi", "--format", "json"))
    written = json.loads(run("--special", "<|user|>\nBe kind\nHi\n<|assistant|>\n", "--format", "json"))
    assert "".join(each["text"] for each in plain) == "<|user|>\nBe <|user|>\nHi\n<|assistant|>\n"
    assert [each["id"] for each in plain if each["id"] < 3] == [each["id"] for each in written if each["id"] < 3] == [1, 2]
    special = json.loads(run("--chat", "--special", "Hi <|user|>", "--format", "json"))
    assert [each["id"] for each in special].count(1) == 2
    with pytest.raises(UsageError, match="give --chat too"):
        run("--system", "Be kind", "Hi")
