"""The nearest value that works: against a look at every value, or a known border."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gencli.knob_search import nearest
from gencli.stages import Knob

COUNT = Knob("k", "int", "", 0, neutral=0, low=0)
SHARE = Knob("p", "float", "", 1.0, neutral=1.0, low=0.0, high=1.0, open="low")
HEAT = Knob("temperature", "float", "", 1.0, neutral=1.0, low=0.0, high=100.0)
SIGMA = Knob("n", "float", "", 0.0, neutral=0.0, low=0.0)
MAP = Knob("entries", "map", "", (), neutral=())


@given(st.integers(1, 500), st.integers(1, 2000))
def test_a_whole_number_is_exact(current, border):
    found = nearest(COUNT, current, lambda k: k == 0 or k >= border, 2000)
    assert found == (max(border, current + 1) if border > current else current + 1)


@given(st.integers(2, 500), st.integers(1, 499))
def test_downwards_too(current, less):
    border = max(1, current - less)
    assert nearest(COUNT, current, lambda k: 0 < k <= border, 2000) == border


def test_off_comes_last():
    assert nearest(COUNT, 40, lambda k: k == 0 or k >= 437, 4096) == 437
    assert nearest(COUNT, 40, lambda k: k == 0, 4096) == 0
    assert nearest(COUNT, 40, lambda k: False, 4096) is None


@given(st.floats(0.01, 0.9), st.floats(0.0, 1.0))
def test_a_share_is_near_its_border_and_short(current, way):
    border = current + way * (0.999 - current) + 1e-6
    found = nearest(SHARE, current, lambda p: p >= border, 100)
    assert border <= found <= min(1.0, border + 0.022 * (border - current) + 1e-9)


def test_a_number_is_typed_as_briefly_as_it_may_be():
    assert nearest(SHARE, 0.9, lambda p: p >= 0.94713, 100) == 0.948
    assert nearest(SHARE, 0.9, lambda p: p >= 0.9999971, 100) == 0.99999711
    assert nearest(SHARE, 0.9, lambda p: p == 1.0, 100) == 1.0
    assert nearest(HEAT, 0.0, lambda t: t > 0, 100) > 0


def test_beyond_neutral_and_without_an_end():
    assert nearest(HEAT, 0.5, lambda t: t >= 2.3456, 100) == 2.35
    assert nearest(SIGMA, 1.0, lambda n: n == 0 or n >= 1234.5, 100) == pytest.approx(1234.5, rel=0.02)
    assert nearest(SIGMA, 1.0, lambda n: n == 0 or n > 1e12, 100) == 0.0


def test_of_a_collection_the_fewest_are_left_out():
    entries = (("a", -1.0), ("b", -2.0), ("c", -3.0))
    assert nearest(MAP, entries, lambda rest: ("b", -2.0) not in rest, 9) == (("a", -1.0), ("c", -3.0))
    assert nearest(MAP, entries, lambda rest: False, 9) is None


def test_another_choice():
    scope = Knob("scope", "choice", "", "all", choices=("all", "output", "none"))
    assert nearest(scope, "all", lambda word: word == "none", 9) == "none"
    assert nearest(scope, "all", lambda word: False, 9) is None


def test_into_a_list_of_allowed_words_the_fewest_are_put():
    words = Knob("words", "words", "", (), neutral=())
    assert nearest(words, ("a", "b"), lambda some: not some or {7, 9} <= set(some), 9, [3, 9, 7, 9]) == ("a", "b", 9, 7)
    assert nearest(words, ("a", "b"), lambda some: not some, 9, [3]) == ()
    assert nearest(words, ("a", "b"), lambda some: "a" not in some, 9, [3]) == ("b",)
