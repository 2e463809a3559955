"""Streamed text is the whole text, whatever the tokens, and never half a character."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencli.detokeniser import Detokeniser, decode
from gencli.tokenizers import load_tokenizer
from gencli.vocabulary import Vocabulary
from tokenizing import TEXT, vocabulary_of

HARD = ["👩‍👩‍👧‍👦 🇫🇷 😀", "中文字、かな、한글", "éñĀ̸ क्षि", "a\0b\r\nc", "\U0010ffff\ue000", "𝕳𝖊𝖑𝖑𝖔"]


def bytes_vocabulary(strips_start: bool = False) -> Vocabulary:
    """Ids 0 .. 255 are bytes, 256 is special, 257 is empty, 258 two bytes that begin a character, 259 a space."""
    own = [bytes([byte]) for byte in range(256)] + [b"<end>", b"", b"\xf0\x9f", b" a"]
    return Vocabulary(260, own, frozenset({256}), frozenset({256}), lambda text: list(text.encode()), strips_start)


@pytest.fixture(scope="module", params=["fable", "stories260k", "bytes"])
def vocabulary(request) -> Vocabulary:
    if request.param == "bytes":
        return bytes_vocabulary()
    if request.param == "fable":
        return vocabulary_of(load_tokenizer(request.getfixturevalue("fable")))
    return vocabulary_of(load_tokenizer(request.getfixturevalue("real_data") / request.param))


def streamed(vocabulary: Vocabulary, ids: list[int], special: bool = False, at_start: bool = False) -> list[str]:
    detokeniser = Detokeniser(vocabulary, special=special, at_start=at_start)
    return [*map(detokeniser.push, ids), detokeniser.flush()]


@given(data=st.data(), special=st.booleans(), at_start=st.booleans())
@settings(max_examples=300, deadline=None)
def test_random_ids_stream_to_the_whole(vocabulary, data, special, at_start):
    ids = data.draw(st.lists(st.integers(0, vocabulary.size - 1), max_size=40))
    assert "".join(streamed(vocabulary, ids, special, at_start)) == decode(vocabulary, ids, special, at_start)


@given(content=st.binary(max_size=30), special=st.booleans())
@settings(max_examples=500, deadline=None)
def test_any_bytes_become_what_utf8_makes_of_the_whole(content, special):
    vocabulary = bytes_vocabulary()
    assert "".join(streamed(vocabulary, list(content), special)) == content.decode("utf-8", "replace")
    assert decode(vocabulary, list(content), special) == content.decode("utf-8", "replace")


@given(text=TEXT)
@settings(max_examples=200, deadline=None)
def test_text_comes_back_without_a_wrong_character_on_the_way(vocabulary, text):
    parts = streamed(vocabulary, vocabulary.encode(text), at_start=True)
    # a tokenizer that writes its spaces as this mark cannot tell the mark from a space
    assert "".join(parts) == (text.replace("▁", " ") if vocabulary.strips_start else text)
    assert parts[-1] == ""
    if "\ufffd" not in text:
        assert not any("\ufffd" in part for part in parts)


@pytest.mark.parametrize("text", HARD)
def test_emoji_cjk_and_combining_text(vocabulary, text):
    parts = streamed(vocabulary, vocabulary.encode(text), at_start=True)
    assert "".join(parts) == text
    assert not any("\ufffd" in part for part in parts)


def test_a_character_waits_for_its_last_byte():
    assert streamed(bytes_vocabulary(), [0xF0, 0x9F, 0x98, 0x80]) == ["", "", "", "😀", ""]
    assert streamed(bytes_vocabulary(), [258, 0x98, 0x80]) == ["", "", "😀", ""]
    assert streamed(bytes_vocabulary(), [258, 65]) == ["", "\ufffdA", ""]
    assert streamed(bytes_vocabulary(), [65, 258]) == ["A", "", "\ufffd"]


def test_special_tokens_give_no_text_unless_asked():
    ids = [65, 256, 66]
    assert streamed(bytes_vocabulary(), ids) == ["A", "", "B", ""]
    assert streamed(bytes_vocabulary(), ids, special=True) == ["A", "<end>", "B", ""]
    assert decode(bytes_vocabulary(), [0xE2, 256, 0x82, 0xAC]) == "€"
    assert decode(bytes_vocabulary(), [0xE2, 256, 0x82, 0xAC], special=True) == "\ufffd<end>\ufffd\ufffd"


def test_one_space_at_the_very_start_is_the_tokenizers():
    strips = bytes_vocabulary(strips_start=True)
    assert "".join(streamed(strips, [257, 256, 259, 259], at_start=True)) == "a a"
    assert "".join(streamed(strips, [32, 32, 65], at_start=True)) == " A"
    assert "".join(streamed(strips, [65, 32], at_start=True)) == "A "
    assert "".join(streamed(strips, [259], at_start=False)) == " a"
    assert "".join(streamed(strips, [256, 259], special=True, at_start=True)) == "<end> a"
    assert "".join(streamed(bytes_vocabulary(), [259], at_start=True)) == " a"
