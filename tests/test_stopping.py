"""Stopping: stop strings and loops against slow definitions, and the one order in which the rules speak."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gencli.stopping import LOOP_BLOCK, LOOP_REPEATS, LOOP_TOKENS, Limits, LoopDetector, Stopping, StopStrings

letters = st.text(alphabet="ab c", max_size=30)
stop_lists = st.lists(st.text(alphabet="ab c", min_size=1, max_size=6), min_size=1, max_size=4)


def slow_stop(text: str, stops: list[str]) -> tuple[str, str | None, str]:
    """The definition, letter by letter: the text before the first complete stop string, which one, and the text with it."""
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            longest = max(complete, key=len)
            return text[: end - len(longest)], longest, text[:end]
    return text, None, text


def chunked(text: str, cuts: list[int]) -> list[str]:
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(places)]


@settings(deadline=None, max_examples=400)
@given(letters, stop_lists, st.lists(st.integers(0, 30), max_size=12), st.booleans())
@example("aaab", ["aab"], [1, 2, 3], False)
@example("abcabd", ["abd", "cab"], [], False)
@example("xaab", ["ab", "aab", "b"], [2, 3], False)
def test_stop_strings_are_the_definition(text: str, stops: list[str], cuts: list[int], inclusive: bool) -> None:
    """Whatever the chunks: the text before the stop string, nothing of it, and nothing after."""
    strings = StopStrings(stops, inclusive)
    before, stop, with_it = slow_stop(text, stops)
    written = ""
    for chunk in chunked(text, cuts):
        written += strings.push(chunk)
        # what was written is certain: it never runs into the stop string, nor beyond the text that is to come
        assert (with_it if inclusive else before).startswith(written)
    written += strings.flush()
    assert strings.found == stop
    assert written == (with_it if inclusive else before)


@settings(deadline=None)
@given(letters, stop_lists)
def test_no_more_is_held_back_than_may_become_a_stop_string(text: str, stops: list[str]) -> None:
    strings, written = StopStrings(stops), ""
    for at, letter in enumerate(text):
        written += strings.push(letter)
        if strings.found is None:
            held = text[len(written) : at + 1]
            assert written + held == text[: at + 1]
            assert not held or any(stop.startswith(held) for stop in stops)


@pytest.mark.parametrize("chunk", range(1, 6))
def test_aab_in_aaab(chunk: int) -> None:
    strings = StopStrings(["aab"])
    written = [strings.push("xaaabyy"[at : at + chunk]) for at in range(0, 7, chunk)]
    assert "".join(written) == "xa"
    assert strings.found == "aab"
    assert strings.flush() == ""


def test_the_one_complete_first_ends_the_text() -> None:
    strings = StopStrings(["abcd", "bc"])
    assert strings.push("xabcd") == "xa"
    assert strings.found == "bc"


def test_of_those_complete_at_once_the_longest() -> None:
    strings = StopStrings(["c", "bc", "abc"])
    assert strings.push("xabc") == "x"
    assert strings.found == "abc"


def test_without_stop_strings_everything_passes() -> None:
    strings = StopStrings(["", ""])
    assert strings.push("as it is") == "as it is"
    assert strings.flush() == ""


def test_after_the_stop_string_nothing_more_comes() -> None:
    strings = StopStrings(["."], inclusive=True)
    assert [strings.push(text) for text in ("a", ". b", "c", ".")] == ["a", ".", "", ""]
    assert strings.flush() == ""


def slow_loop(ids: list[int]) -> bool:
    """The definition: the last 24 or more tokens are at least three repeats of one block of 1 to 64 tokens."""
    for block in range(1, LOOP_BLOCK + 1):
        for repeats in range(LOOP_REPEATS, len(ids) // block + 1):
            if block * repeats >= LOOP_TOKENS and ids[-block * repeats :] == ids[-block:] * repeats:
                return True
    return False


def test_what_a_loop_is() -> None:
    assert (LOOP_TOKENS, LOOP_REPEATS, LOOP_BLOCK) == (24, 3, 64)


@st.composite
def loopy(pick: st.DrawFn) -> list[int]:
    """Ids that often repeat a block, with a beginning, and sometimes with one token changed."""
    block = pick(st.lists(st.integers(0, 2), min_size=1, max_size=70))
    ids = pick(st.lists(st.integers(0, 2), max_size=10)) + block * pick(st.integers(1, 30 // len(block) + 4))
    if pick(st.booleans()):
        ids[pick(st.integers(0, len(ids) - 1))] = 7
    return ids + pick(st.lists(st.integers(0, 2), max_size=3))


@settings(deadline=None, max_examples=150)
@given(loopy())
@example([1] * 24)
@example([1] * 23)
@example([1, 2, 3, 4, 5, 6, 7, 8] * 3)
@example([1, 2, 3, 4, 5, 6, 7] * 3)
@example(list(range(64)) * 3)
@example(list(range(65)) * 4)
def test_loops_are_the_definition(ids: list[int]) -> None:
    detector = LoopDetector()
    assert [detector.push(token) for token in ids] == [slow_loop(ids[: end + 1]) for end in range(len(ids))]


def stopping(limits: Limits, ends: frozenset[int] = frozenset({9}), room: int = 100, started: float | None = None) -> Stopping:
    return Stopping(limits, ends, room, time.monotonic() if started is None else started)


def test_nothing_ends_it() -> None:
    rules = stopping(Limits())
    assert [rules.push(token, "x") for token in range(5)] == [("x", None, None)] * 5
    assert rules.flush() == ""


@pytest.mark.parametrize(
    ("limits", "tokens", "reason", "which"),
    [
        (Limits(), [1, 9], "end_token", None),
        (Limits(max_new_tokens=2), [1, 2], "length", None),
        (Limits(stop=("xx",)), [1, 2], "stop_string", "xx"),
        (Limits(gates=frozenset({"loop"})), [1] * 24, "loop", None),
        (Limits(time_limit=0.0), [1], "time", None),
    ],
)
def test_each_reason(limits: Limits, tokens: list[int], reason: str, which: str | None) -> None:
    rules = stopping(limits)
    answers = [rules.push(token, "x") for token in tokens]
    assert [why for _, why, _ in answers] == [None] * (len(tokens) - 1) + [reason]
    assert answers[-1][2] == which


@pytest.mark.parametrize(
    ("limits", "prob", "entropy", "stop"),
    [
        (Limits(min_prob=0.01), 0.0021, None, "min_prob: 0.0021 < 0.01"),
        (Limits(min_prob=0.01), 0.01, None, None),
        (Limits(min_prob=0.01), 0.00999999999, None, "min_prob: 0.00999999999 < 0.01"),
        (Limits(max_entropy=4.0), None, 5.3125, "max_entropy: 5.312 > 4 bits"),
        (Limits(max_entropy=4.0), None, 4.0, None),
        (Limits(max_entropy=0.0), None, 5e-324, "max_entropy: 4.941e-324 > 0 bits"),
        (Limits(min_prob=0.5, max_entropy=1.0), 0.25, 2.0, "min_prob: 0.25 < 0.5; max_entropy: 2 > 1 bits"),
        (Limits(min_prob=0.5, max_entropy=1.0), 0.25, 1.0, "min_prob: 0.25 < 0.5"),
        (Limits(), 0.0, 99.0, None),
    ],
)
def test_gates_tell_which_and_the_numbers(limits: Limits, prob: float | None, entropy: float | None, stop: str | None) -> None:
    assert stopping(limits).push(1, "x", prob, entropy) == ("x", "gate" if stop else None, stop)


def test_a_gate_speaks_before_everything_else() -> None:
    rules = stopping(Limits(stop=("x",), max_new_tokens=1, min_prob=0.5), room=1)
    assert rules.push(9, "x", 0.25) == ("", "gate", "min_prob: 0.25 < 0.5")
    assert rules.flush() == ""  # the stop string is left out all the same


def test_the_context_ends_it() -> None:
    rules = stopping(Limits(), room=2)
    assert [rules.push(1, "x")[1] for _ in range(2)] == [None, "context"]


def test_they_speak_in_one_order() -> None:
    """Everything true with the first token, then one rule less each time."""
    limits, ends, room, reasons = Limits(stop=("x",), max_new_tokens=1, time_limit=1.0), frozenset({9}), 1, []
    for without in ({}, {"ignore_end": True}, {"stop": ()}, {"max_new_tokens": 9}):
        limits = replace(limits, **without)
        reasons.append(stopping(limits, ends, room, started=0.0).push(9, "x")[1])
    reasons.append(stopping(limits, ends, room=9, started=0.0).push(9, "x")[1])
    assert reasons == ["end_token", "stop_string", "length", "context", "time"]


@pytest.mark.parametrize(
    ("text", "token", "gates", "reason"),
    [("x", 1, {"loop"}, "stop_string"), ("", 1, {"loop"}, "loop"), ("", 2, {"loop"}, "length"), ("", 1, set(), "length")],
)
def test_a_loop_speaks_after_a_stop_string_and_before_the_length(text: str, token: int, gates: set[str], reason: str) -> None:
    rules = stopping(Limits(stop=("x",), max_new_tokens=24, gates=frozenset(gates)), room=24)
    assert not any(rules.push(1, "")[1] for _ in range(23))
    assert rules.push(token, text)[1] == reason


def test_ignore_end_goes_on() -> None:
    assert stopping(Limits(ignore_end=True)).push(9, "x") == ("x", None, None)


def test_loops_matter_only_where_asked_for() -> None:
    rules = stopping(Limits())
    assert not any(rules.push(1, "")[1] for _ in range(80))


def test_held_text_comes_out_at_the_end() -> None:
    rules = stopping(Limits(stop=("stop",)))
    assert rules.push(1, "a st") == ("a ", None, None)
    assert rules.push(9, "") == ("", "end_token", None)
    assert rules.flush("o") == "sto"


def test_after_a_stop_string_nothing_comes_out_at_the_end() -> None:
    rules = stopping(Limits(stop=("stop",)))
    assert rules.push(1, "now stop here") == ("now ", "stop_string", "stop")
    assert rules.flush("more") == ""


def test_a_stop_string_in_the_last_held_bytes_is_left_out() -> None:
    rules = stopping(Limits(stop=("b�",)))
    assert rules.push(1, "ab") == ("a", None, None)
    assert rules.flush("�") == ""


@settings(deadline=None)
@given(letters, stop_lists, st.lists(st.integers(0, 30), max_size=12))
def test_pushes_and_flush_together_are_the_text(text: str, stops: list[str], cuts: list[int]) -> None:
    rules, written = stopping(Limits(stop=tuple(stops))), ""
    for chunk in chunked(text, cuts):
        certain, reason, which = rules.push(1, chunk)
        written += certain
        if reason:
            break
    before, stop, _ = slow_stop(text, stops)
    assert written + rules.flush() == before
    assert (reason, which) == (("stop_string", stop) if stop else (None, None))
