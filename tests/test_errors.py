"""Errors: sentences that list the choices and guess what was meant, with the exit code they end in."""

from __future__ import annotations

import pytest

from gencli.errors import GencliError, RunError, UsageError, nearest, unknown


@pytest.mark.parametrize(("kind", "code"), [(GencliError, 1), (RunError, 1), (UsageError, 2)])
def test_exit_codes(kind: type[GencliError], code: int) -> None:
    assert kind("why").exit_code == code
    assert issubclass(kind, GencliError)


def test_a_wrong_use_is_a_value_error() -> None:
    assert issubclass(UsageError, ValueError)
    assert not issubclass(RunError, ValueError)


@pytest.mark.parametrize(
    ("word", "found"),
    [("creativ", "creative"), ("CREATIVE", "creative"), ("caht", "chat"), ("Fable", "Fable-9M"), ("zzz", None), ("", None)],
)
def test_nearest(word: str, found: str | None) -> None:
    assert nearest(word, ["chat", "creative", "code", "Fable-9M"]) == found


def test_nearest_of_none() -> None:
    assert nearest("x", []) is None


def test_unknown_says_where_what_and_which() -> None:
    error = unknown("preset", "creativ", ["creative", "chat"], "story.yaml, line 3")
    assert isinstance(error, UsageError)
    assert str(error) == "story.yaml, line 3: there is no preset 'creativ'. Did you mean 'creative'? Choices: chat, creative."


def test_unknown_without_a_guess_or_choices() -> None:
    assert str(unknown("stage", "xyz", ["top_k"])) == "there is no stage 'xyz'. Choices: top_k."
    assert str(unknown("preset", "a", [])) == "there is no preset 'a'. There are none."
