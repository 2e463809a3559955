"""A score as lines: rows, colours, figures, and every verdict in words."""

from __future__ import annotations

import re

import pytest

from gencli.bar import Palette, cells
from gencli.score_report import figure_lines, painted, token_rows
from gencli.scores import Change, Ending, Reach, Score, ScoredToken

PLAIN, COLOURS = Palette("none"), Palette("standard")


def token(place, text, bits, rank=1, removed_by=None, because=None, own=None):
    own = text.encode() if own is None else own
    logprob = None if removed_by else -0.5
    return ScoredToken(place, 7, text, own, -bits / 1.4427, bits, rank, 5.0, 2.0, logprob, removed_by, 0 if removed_by else None, because)


TOKENS = (
    token(0, "One", 0.5),
    token(1, " \x1b[2J\n", 6.0, 1234),
    token(2, "", 13.0, 50, own=b"\xc3"),
    token(3, "é", 0.1, own=b"\xa9"),
    token(4, " two", 9.0, 64, "top_k", "rank 64 > 60"),
)
FIRST = TOKENS[4]


def told(reach, width=None, tokens=TOKENS, preset="creative"):
    return figure_lines(Score((1, 2), tokens, 14, reach), width, preset)


def test_a_row_a_token():
    lines = token_rows(TOKENS, PLAIN)
    assert lines[0] == " rank    bits"
    assert lines[1] == '    1    0.50 ▌                 "One"'
    assert lines[2] == '1,234    6.00 ██████            " \\x1b[2J\\n"'
    assert lines[3].endswith('"\ufffd"')
    assert lines[5].endswith('" two"  cut by top_k: rank 64 > 60')


def test_colours_by_surprise_and_a_character_of_two_tokens_is_one():
    text, key = painted(TOKENS, COLOURS)[:2], painted(TOKENS, COLOURS)[-1]
    assert text[0] == "\x1b[2mOne\x1b[0m \x1b[3;33m␛[2J"
    assert "\x1b[1;4;31mé\x1b[0m" in text[1]
    assert "\x1b[2;9mtwo\x1b[0m" in text[1]
    assert re.sub("\x1b\\[[0-9;]*m", "", key) == "up to 1 bit  up to 4 bits  up to 8 bits  up to 12 bits  more  blocked"
    assert "blocked" not in painted(TOKENS[:2], COLOURS)[-1]


def test_every_heat_is_told_without_colour_too():
    styles = Palette("attributes")
    assert len({styles(f"heat{at}", "x") for at in range(5)}) == 5


def test_the_figures():
    lines = told(None)
    assert lines[0] == "scored            5 tokens, 14 bytes, after 2 tokens"
    assert lines[2] == "bits per byte     2.043"
    assert lines[4] == "ranks             1: 40 %  11 to 100: 40 %  beyond: 20 %"
    assert len(lines) == 5


def test_what_could_have_been_produced():
    assert told(Reach(), tokens=TOKENS[:2])[-1] == (
        "preset creative   could have produced it along these tokens, with a log-probability of -1.00 nats"
    )
    assert told(Reach(), tokens=TOKENS[:2], preset=None)[-1].startswith("these stages      could have")


@pytest.mark.parametrize(
    ("reach", "last"),
    [
        (
            Reach(1, FIRST, (Change("top_k", 0, "k", 60, 64, "--top-k 64"), Change("top_p", 1, "p", 0.9, 0.95, "--top-p 0.95"))),
            ["smallest change   --top-k 64 (now 60)", "or                --top-p 0.95 (now 0.9)"],
        ),
        (
            Reach(1, FIRST, (), (Change("top_k", 0, "k", 60, 64, "--top-k 64"), Change("top_p", 1, "p", 0.9, 0.95, "--top-p 0.95"))),
            [
                "no single knob    lets it through; together these do:",
                "                  --top-k 64 (now 60)",
                "                  --top-p 0.95 (now 0.9)",
            ],
        ),
        (Reach(1, FIRST), ["no knob           lets it through, not even one of every stage that blocks"]),
        (
            Reach(0, None, (), (), Ending(1, "stop_string", "\n")),
            ['the end           a run would have ended at token 2, " \\x1b[2J\\n": a stop string was written ("\\n")'],
        ),
    ],
)
def test_what_could_not(reach, last):
    lines = told(reach)
    assert lines[-len(last) :] == last
    assert lines[6].startswith("preset creative   cannot have produced it along these tokens")
    if reach.first:
        assert lines[7] == 'the first         token 5, " two", cut by top_k: rank 64 > 60'


def test_a_window_has_them_wrapped():
    lines = told(Reach(1, FIRST, (), (), Ending(1, "stop_string", "\n")), width=50)
    assert max(map(cells, lines)) <= 50
    assert len(lines) > 9


def test_what_the_model_almost_forbids():
    odd = token(0, "x", 70.0, 99, "draw", "a probability of 1e-21 is less than a draw can hit (1.11e-16)")
    assert told(Reach(1, odd), tokens=(odd,))[7].endswith(
        "no draw can hit it: a probability of 1e-21 is less than a draw can hit (1.11e-16)"
    )
