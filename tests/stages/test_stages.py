"""What a knob accepts beside numbers: a list of words, from Python, from a preset, and as it is typed."""

from __future__ import annotations

from typing import Any

import pytest

from gencli.errors import UsageError
from gencli.option_types import KnobValue
from gencli.settings import value_of
from gencli.stages import Knob

WORDS = Knob("words", "words", "Some words.", ())


@pytest.mark.parametrize(
    ("given", "held"),
    [("a", ("a",)), (7, (7,)), ([" a", 0, [1, 0]], (" a", 0, (1, 0))), ((), ()), ([], ()), (("-inf", "1"), ("-inf", "1"))],
)
def test_words_are_a_tuple_of_texts_and_ids(given: Any, held: tuple[str | int, ...]) -> None:
    assert WORDS.check(given, "stage") == held


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        None,
        True,
        -1,
        0.5,
        {"a": 1},
        {"a"},
        ["a", ""],
        ["a", None],
        [["a"]],
        [[1, "a"]],
        [[]],
        [[-1]],
        [[True]],
        [[[1]]],
        [-1],
        [False],
        [1.0],
    ],
)
def test_what_is_no_word_is_a_sentence(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"^stage must be a list of texts, token ids and lists of token ids, not .*\.$"):
        WORDS.check(wrong, "stage")


@pytest.mark.parametrize(
    ("typed", "word"), [("a", "a"), (" a b", " a b"), ("17", 17), ('"17"', "17"), (r'"\n"', "\n"), ("-1", "-1"), ("[x]", "[x]"), ('"', '"')]
)
def test_a_flag_is_one_word(typed: str, word: str | int) -> None:
    assert KnobValue(WORDS).convert(typed, None, None) == word


@pytest.mark.parametrize(
    ("typed", "words"), [("a", ("a",)), ("17", (17,)), (" [a, \"17\", 17, ' b']", ["a", "17", 17, " b"]), ('"[a]"', ("[a]",)), ("[]", [])]
)
def test_what_set_sets_may_be_a_list(typed: str, words: Any) -> None:
    assert value_of(WORDS, typed, "--set stage") == words


@pytest.mark.parametrize("typed", ["", '""', r'"\x"'])
def test_what_is_typed_wrongly_is_a_sentence(typed: str) -> None:
    with pytest.raises(UsageError, match=r"^the value"):
        KnobValue(WORDS).convert(typed, None, None)
