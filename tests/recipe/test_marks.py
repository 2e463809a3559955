"""What counts as a complete function, an answer that speaks for the user, and variety beside held-out texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recipe.marks import HERE, SPEAKING, complete, measure, parses, variety_beside

BODY = "def f(a):\n    return a\n"


def test_a_function_ends_at_the_next_dedent_or_the_end_token() -> None:
    assert complete(BODY + "\n\ndef g(b):\n    ret", "length") == BODY + "\n\n"
    assert complete(BODY, "end_token") == BODY
    assert complete(BODY, "length") is None
    assert complete(BODY + "    x = [\n", "length") is None
    # the last line may not be whole: it might still become indented
    assert complete(BODY + "x", "length") is None


def test_parsing_asks_for_one_function() -> None:
    assert parses(BODY)
    assert not parses("def f(a):\n    return (a\n")
    assert not parses("def f(a):\n")
    assert not parses("x = 1\n")
    assert not parses("def f(a):\n    '\0'\n")


@pytest.mark.parametrize(
    ("text", "speaks"), [("Hi!", False), ("Hi!\n<|user|>\nWhat", True), ("Hi!\nUser: what", True), ("The user: me", False)]
)
def test_speaking_for_the_user(text: str, speaks: bool) -> None:
    assert bool(SPEAKING.search(text)) == speaks


def test_variety_is_compared_at_equal_length() -> None:
    assert variety_beside(["a b a b"], ["a b a b a b a b a b"]) == (2 / 3, 2 / 3)
    assert variety_beside(["a b c d"], ["a a a a"]) == (1.0, 1 / 3)


@pytest.mark.parametrize("name", ["signatures.txt", "messages.txt"])
def test_a_hundred_different_prompts_are_listed(name: str) -> None:
    lines = (HERE / "prompts" / name).read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(set(lines)) == 100
    if name == "signatures.txt":
        assert all(parses(line + "\n    pass\n") for line in lines)


@pytest.mark.slow
def test_the_embedded_checkpoint_is_measured(fable: Path, data: Path, tmp_path: Path) -> None:
    result = measure(fable, data, 2, 1, tmp_path / "marks.json")
    assert json.loads((tmp_path / "marks.json").read_text()) == result
    assert [len(each) for each in result["texts"].values()] == [2, 2, 2]
    assert result["figures"]["complete functions"].endswith("of 2")
    assert measure(fable, data, 2, 1, None) == result
