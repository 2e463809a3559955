"""Prompts in pieces: special tokens only where they may stand, ordinary text as if it were one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from gencli.tokenizers import encode_pieces, encode_prompt, load_tokenizer
from gencli.tokenizers._added import AddedToken as Added
from gencli.tokenizers._added import AddedTokens
from tokenizing import TEXT, Pair, byte_level_json

PAIRS = ["fable_pair", "gpt2_pair", "neox_pair", "stories_pair", "phi3_pair"]
SPECIALS = ["<|endoftext|>", "<|user|>", "<|end|>", "<s>", "</s>", "<|padding|>", "<|", "|>", " ", "\n", "  ", "<|user|>\n", "é"]
PIECES = st.lists(st.tuples(st.one_of(TEXT, st.sampled_from(SPECIALS)), st.booleans()), max_size=8)


@pytest.fixture(scope="module", params=PAIRS)
def pair(request) -> Pair:
    return request.getfixturevalue(request.param)


@given(pieces=PIECES)
@settings(max_examples=40, deadline=None)
def test_where_all_pieces_may_hold_special_tokens_it_is_the_librarys_own_way(pair, pieces):
    text = "".join(piece for piece, _ in pieces)
    assert encode_pieces(pair.ours, [(piece, True) for piece, _ in pieces]) == pair.with_special(text)


@given(pieces=PIECES)
@settings(max_examples=40, deadline=None)
def test_where_none_may_they_stay_text(pair, pieces):
    text = "".join(piece for piece, _ in pieces)
    assert encode_pieces(pair.ours, [(piece, False) for piece, _ in pieces]) == pair.ordinary(text)


@given(pieces=PIECES)
@settings(max_examples=40, deadline=None)
def test_special_tokens_come_only_from_pieces_that_may_hold_them(pair, pieces):
    special = set(pair.ours.special.values())
    allowed = "".join(piece for piece, may in pieces if may)
    found = [id for id in encode_pieces(pair.ours, pieces) if id in special and id != pair.oracle.token_to_id("<unk>")]
    assert len(found) <= sum(allowed.count(text) for text in pair.ours.special)


def test_ordinary_text_is_joined_across_pieces(fable_pair):
    tokenizer = fable_pair.ours
    assert encode_pieces(tokenizer, [("Once up", True), ("on a", False), (" time", False)]) == tokenizer.encode("Once upon a time")
    assert encode_pieces(tokenizer, [("<|us", True), ("er|>", False)]) == tokenizer.encode("<|user|>")
    assert encode_pieces(tokenizer, [("<|us", True), ("er|>", True)]) == [1]
    assert encode_pieces(tokenizer, []) == encode_pieces(tokenizer, [("", True), ("", False)]) == []


def test_a_chat_template(fable_pair):
    tokenizer = fable_pair.ours
    ids = encode_pieces(tokenizer, [("<|user|>\n", True), ("Hi <|user|>", False), ("\n<|assistant|>\n", True)])
    assert ids == [1, *tokenizer.encode("\nHi <|user|>\n"), 2, *tokenizer.encode("\n")]
    assert ids.count(1) == 1


def test_white_space_that_a_special_token_swallows_is_swallowed_across_pieces(phi3_pair):
    text = "<|user|>\nHello<|end|>\n"
    assert encode_pieces(phi3_pair.ours, [("<|user|>", True), ("\nHello", False), ("<|end|>\n", True)]) == phi3_pair.with_special(text)


def test_start_tokens_are_not_doubled(stories_pair, fable_pair):
    start = stories_pair.ours.start_ids
    assert start == (1,)
    assert encode_prompt(stories_pair.ours, [("Once", False)]) == stories_pair.oracle.encode("Once").ids
    assert encode_prompt(stories_pair.ours, [("<s>", True), ("Once", False)])[:2] != [1, 1]
    assert encode_prompt(stories_pair.ours, [("<s>", False)])[0] == 1
    assert encode_prompt(stories_pair.ours, []) == [1]
    assert encode_prompt(fable_pair.ours, []) == []


def test_flags_of_special_tokens_are_the_librarys(tmp_path):
    tokens = [
        AddedToken("<l>", lstrip=True, normalized=False),
        AddedToken("<r>", rstrip=True, normalized=False),
        AddedToken("<w>", single_word=True, normalized=False),
        AddedToken("<lr>", lstrip=True, rstrip=True, normalized=False),
        AddedToken("<l><r>", normalized=False),
    ]
    data = byte_level_json([("a", "b")])
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    made = Pair(tmp_path)
    made.oracle.add_special_tokens(tokens)
    (tmp_path / "tokenizer.json").write_text(made.oracle.to_str())
    pair = Pair(tmp_path)

    @given(
        parts=st.lists(
            st.sampled_from(["<l>", "<r>", "<w>", "<lr>", " ", "\n", "\x1f", "\u2003", "a", "_", "é", "<", ".", "ab"]), max_size=8
        )
    )
    @settings(max_examples=400, deadline=None)
    def equal(parts):
        text = "".join(parts)
        assert encode_pieces(pair.ours, [(text, True)]) == pair.with_special(text)

    equal()


def test_the_longest_of_the_leftmost():
    tokens = AddedTokens([Added(1, "ab", True), Added(2, "abab", True), Added(3, "b", True), Added(4, "c", False)])
    assert list(tokens.find("ababcb", True)) == [(0, 4, 2), (5, 6, 3)]
    assert list(tokens.find("ababcb", False)) == [(4, 5, 4)]
    assert list(tokens.find("ababab", True, 1, 5)) == [(1, 2, 3), (2, 4, 1)]


def test_many_added_tokens_are_no_burden(folder_with):
    entries = [{"id": 256 + at, "content": f"{chr(0x4E00 + at // 10)}<{at}>", "special": True} for at in range(30_000)]
    tokenizer = load_tokenizer(folder_with(byte_level_json([], added_tokens=entries)))
    assert encode_pieces(tokenizer, [("a" + entries[20_000]["content"] + entries[6]["content"][:-1] + "<", True)])[:2] == [97, 20_256]
