"""Which patterns out of files run: those of published tokenizers, and none that could keep an engine busy."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from gencli.tokenizers._patterns import PATTERNS
from gencli.tokenizers._regexes import objection, patterns

PUBLISHED = [
    *PATTERNS.values(),
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|"
    r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", r" ?[^(\s|[.,!?…。，、।۔،])]+", " {2,}", "[0-9][0-9][0-9]", r"(?:\r?\n)+(?!\r?\n)",
    r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}&&[^\p{Han}]]*[\p{Ll}&&[^\p{Han}]]+(?i:'s|'t)?",
    r"'s|'t|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", r"\d{1,3}(?=(?:\d{3})*\b)", r"(?<=\n)\s?\p{L}+|\s?\p{N}+",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PUBLISHED)
def test_a_published_pattern_runs(pattern):
    assert objection(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"(a+)+$", "of several lengths at character 0"),
        (r"(a|a)*$", "of several lengths"),
        (r"(?:a|ab)*c", "of several lengths"),
        (r"(a?){64}a{64}", "of several lengths"),
        (r"((a{1,40}){1,40}){1,40}", "of several lengths"),
        (r"a{1,1000}{1,1000}b", "repeats a repeat"),
        (r"a{1,3}+b", "must follow two unlimited repeats"),
        (r"[\s\S]*[\s\S]*\x00", "must follow two unlimited repeats"),
        (r"(?=.*a.*b)x", "must follow two unlimited repeats"),
        (r"a*b*c*", "more than 2 unlimited repeats"),
        ("a?" * 30 + "a" * 30, "8 optional parts"),
        (r"(.)\1", "refers back"),
        (r"(?<n>.)\k<n>", "unknown kind"),
        (r"(?(1)a)", "unknown kind"),
        ("(" * 30 + ")" * 30, "groups 21 deep"),
        ("[" * 30 + "]" * 30, "classes 21 deep"),
        ("[", "not closed"),
        ("(a", "not closed"),
        ("a)", "a bracket too many at character 1"),
        ("*a", "repeats nothing"),
        ("x" * 5000, "has 5,000 characters"),
        ("(?:" * 10**6, "has 3,000,000 characters"),
    ],
)
def test_a_pattern_that_could_take_for_ever_does_not_run(pattern, why):
    start = time.process_time()
    assert why in (objection(pattern) or "")
    assert time.process_time() - start < 1


@given(
    pattern=st.lists(st.sampled_from([*"ab.|()[]*+?^", "{2}", "{1,3}", "(?:", "(?!", r"\s", r"\p{L}", "[ab]"]), max_size=10).map("".join)
)
@settings(max_examples=150)
def test_whatever_passes_takes_little_time(pattern):
    """The texts are those on which such patterns fail last; a pattern that backtracks in earnest takes minutes or an error."""
    if objection(pattern) is not None:
        return
    try:
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
    except Exception:  # the library does not read it
        return
    for text in ("a" * 300 + "b", "ab" * 150 + "\0", " " * 300 + "c"):
        start = time.process_time()
        split.pre_tokenize_str(text)
        assert time.process_time() - start < 2


def test_patterns_are_found_wherever_they_stand():
    value = {"type": "Sequence", "normalizers": [{"pattern": {"Regex": "a"}}, {"pattern": {"String": "b"}}, [{"x": {"Regex": "c"}}]]}
    assert list(patterns(value)) == ["a", "c"]
    for _ in range(2000):
        value = {"a": value}
    assert list(patterns(value)) == []
