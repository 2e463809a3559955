"""Byte-level BPE on tiktoken gives what the `tokenizers` library gives, or refuses."""

from __future__ import annotations

import argparse
import base64
import itertools
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiktoken import Encoding
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from gencli.detokeniser import Detokeniser, decode
from gencli.tokenizers import encode_pieces
from gencli.tokenizers._patterns import PATTERNS
from gencli.tokenizers._source import Inexact, read
from gencli.tokenizers.byte_level import ByteLevel
from tokenizing import ODD, TEXT, Pair, byte_level_json, bytes_alphabet, drawn_strings, vocabulary_of

PAIRS = ["fable_pair", "gpt2_pair", "neox_pair", "llama3_pair", "qwen2_pair"]
LETTERS = st.sampled_from("ab")
WORDS = ["".join(word) for length in range(1, 9) for word in itertools.product("ab", repeat=length)]


@pytest.fixture(scope="module", params=PAIRS)
def pair(request) -> Pair:
    return request.getfixturevalue(request.param)


def test_it_is_what_runs_these(pair):
    assert isinstance(pair.ours, ByteLevel)


@pytest.mark.parametrize(
    "pair", ["gpt2_pair", *(pytest.param(name, marks=pytest.mark.slow) for name in PAIRS if name != "gpt2_pair")], indirect=True
)
def test_ten_thousand_strings(pair):
    """Ordinary text, in which special-token text stays text, and text that may hold special tokens."""
    special = [*pair.ours.special, *(token.content for token in pair.oracle.get_added_tokens_decoder().values())]
    texts = drawn_strings(10_000, special)
    assert len(texts) == 10_000
    pair.oracle.encode_special_tokens = True
    assert [pair.ours.encode(text) for text in texts] == [each.ids for each in pair.oracle.encode_batch(texts, add_special_tokens=False)]
    pair.oracle.encode_special_tokens = False
    expected = [each.ids for each in pair.oracle.encode_batch(texts, add_special_tokens=False)]
    assert [encode_pieces(pair.ours, [(text, True)]) for text in texts] == expected


@pytest.mark.slow
def test_a_hundred_thousand_random_byte_strings_decode_to_themselves(pair):
    """Half of them cut into whatever tokens begin so, half into single bytes; at once, and token by token."""
    chance, vocabulary = random.Random(1), vocabulary_of(pair.ours)
    special = set(pair.ours.special.values())
    ids = {own: id for id, own in enumerate(pair.ours.token_bytes) if own and id not in special}
    known = [byte for byte in range(256) if bytes([byte]) in ids]
    assert len(known) >= 243  # all that text can hold; some vocabularies lack those that it cannot
    for at in range(100_000):
        odd = "".join(chance.choice(ODD) for _ in range(3)).encode()[chance.randrange(3) :]
        data = bytes(chance.choices(known, k=chance.randrange(12))) if at % 3 else odd
        cut: list[int] = []
        rest = data
        while rest:
            length = next(length for length in range(min(len(rest), 6) if at % 2 else 1, 0, -1) if rest[:length] in ids)
            cut.append(ids[rest[:length]])
            rest = rest[length:]
        assert b"".join(pair.ours.token_bytes[id] for id in cut) == data
        stream = Detokeniser(vocabulary)
        assert "".join(map(stream.push, cut)) + stream.flush() == decode(vocabulary, cut) == data.decode("utf-8", "replace")


@given(text=TEXT)
@settings(max_examples=30, deadline=None)
def test_text_becomes_the_librarys_ids(pair, text):
    assert pair.ours.encode(text) == pair.ordinary(text)


@given(text=TEXT)
@settings(max_examples=50, deadline=None)
def test_ids_become_the_text_again(pair, text):
    ids = pair.ours.encode(text)
    expected = pair.oracle.normalizer.normalize_str(text) if pair.oracle.normalizer else text
    assert decode(vocabulary_of(pair.ours), ids) == expected


def test_every_pair_of_odd_pieces(pair):
    text = "".join(one + other for one in ODD for other in ODD)
    assert pair.ours.encode(text) == pair.ordinary(text)
    for one, other in itertools.product(ODD, ODD):
        assert pair.ours.encode(one + other) == pair.ordinary(one + other), (one, other)


def test_ids_and_bytes_are_the_vocabularys(pair):
    assert pair.ours.size == pair.oracle.get_vocab_size()
    assert pair.ours.special == {token.content: id for id, token in pair.oracle.get_added_tokens_decoder().items() if token.special}
    for id in range(0, pair.ours.size, 17):
        assert pair.ours.token_bytes[id].decode("utf-8", "replace") == pair.oracle.decode([id], skip_special_tokens=False)


def test_runs_of_spaces_are_tokens_of_neox(neox_pair):
    assert len(neox_pair.ours.encode("    x")) == 2
    for spaces in range(60):
        for around in ("{}", "a{}b", "a {} b", "{}\n{}", "\t{}é"):
            text = around.replace("{}", " " * spaces)
            assert neox_pair.ours.encode(text) == neox_pair.ordinary(text)


@pytest.mark.parametrize("name", PATTERNS)
@given(text=TEXT)
@settings(max_examples=30, deadline=None)
def test_a_pattern_cuts_where_the_librarys_engine_cuts(name, text):
    assert_same_cuts(PATTERNS[name], text)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_cuts_a_sample_of_all_characters_alike(name):
    characters = [chr(code) for code in [*range(0x250), *range(0x250, 0x110000, 211)] if not 0xD800 <= code < 0xE000]
    for chunk in range(0, len(characters), 500):
        assert_same_cuts(PATTERNS[name], "".join(f"a{c}b {c}1{c} '{c}\n{c}S\t{c} !{c}\r" for c in characters[chunk : chunk + 500]))


@pytest.mark.slow
@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_cuts_all_characters_alike(name):
    for block in range(0, 0x110000, 0x400):
        text = "".join(f"a{chr(code)}b {chr(code)}'{chr(code)}\n" for code in range(block, block + 0x400) if not 0xD800 <= code < 0xE000)
        assert_same_cuts(PATTERNS[name], text)


def assert_same_cuts(pattern: str, text: str) -> None:
    """tiktoken takes a piece that is a token whole, so with the library's pieces as tokens the pieces come out."""
    cut = pre_tokenizers.Split(Regex(pattern), "isolated").pre_tokenize_str(text)
    pieces = [piece.encode() for piece, _ in cut]
    ranks = {bytes([byte]): byte for byte in range(256)}
    for piece in pieces:
        ranks.setdefault(piece, len(ranks))
    encoding = Encoding("pieces", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    assert encoding.encode_ordinary(text) == [ranks[piece] for piece in pieces]


def trained(corpus: list[str], size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


@given(corpus=st.lists(st.text("ab", min_size=1, max_size=20), min_size=1, max_size=5), size=st.integers(258, 290))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_was_trained_is_taken_and_equal(folder_with, corpus, size):
    folder = folder_with(trained(corpus, size).to_str())
    ours = ByteLevel(read(folder))
    text = "\n".join(WORDS)
    assert ours.encode(text) == Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids


@st.composite
def merge_lists(draw):
    """Merges of a's and b's: sensible ones, orders that no training gives, several ways to one token."""
    known, merges = ["a", "b"], []
    for _ in range(draw(st.integers(1, 10))):
        merge = draw(st.sampled_from(known)), draw(st.sampled_from(known))
        if len("".join(merge)) <= 8 and merge not in merges:
            merges.append(merge)
            known.append("".join(merge))
    return draw(st.permutations(merges)) if draw(st.booleans()) else merges


@given(merges=merge_lists(), shuffled=st.booleans(), ignore=st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_merge_list_is_refused_or_equal(folder_with, merges, shuffled, ignore):
    data = byte_level_json(merges, ignore_merges=ignore)
    if shuffled:  # ids that are not in merge order
        ids = [*data["model"]["vocab"].values()]
        data["model"]["vocab"] = dict(zip(data["model"]["vocab"], reversed(ids), strict=True))
    folder = folder_with(data)
    try:
        ours = ByteLevel(read(folder))
    except Inexact:
        return
    text = "\n".join(WORDS)
    assert ours.encode(text) == Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids


@given(tokens=st.lists(st.text("ab", min_size=2, max_size=6), min_size=1, max_size=12, unique=True))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_list_of_every_split_is_refused_or_equal(folder_with, tokens):
    """Some conversions list, for each token in its order, every split into two tokens."""
    tokens = sorted(tokens, key=len)
    known = {"a", "b", *tokens}
    merges = [(token[:at], token[at:]) for token in tokens for at in range(1, len(token)) if {token[:at], token[at:]} <= known]
    folder = folder_with(byte_level_json(merges, ignore_merges=True))
    try:
        ours = ByteLevel(read(folder))
    except Inexact:
        return
    text = "\n".join(WORDS)
    assert ours.encode(text) == Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids


def test_refusals_and_acceptances_are_the_expected_ones(folder_with):
    def taken(*merges: str, **more: object) -> bool:
        try:
            ByteLevel(read(folder_with(byte_level_json([tuple(merge.split()) for merge in merges], **more))))
        except Inexact:
            return False
        return True

    assert taken("a b", "ab a", "ab ab")
    assert taken("a a", "aa aa", "aaaa aa")
    assert taken("b a", "a b", "ab b", "ba b")  # "bab" is reached
    assert not taken("ab a", "a b")  # a merge before its parts
    assert not taken("a b", "a b")
    assert taken("a b", "b a", "a ba", "ab a")  # (a, ba) never happens: ab goes first
    assert not taken("a b", byte_fallback=True)
    assert not taken("a b", dropout=0.1)
    assert not taken("a b", end_of_word_suffix="</w>")
    assert taken("a b", continuing_subword_prefix="", end_of_word_suffix="")
    assert not taken("a b", normalizer={"type": "NFKC"})
    assert not taken("a b", normalizer={"type": "Lowercase"})
    assert not taken("a b", decoder=None)
    assert not taken("a b", pattern=r"\w+|\W")  # no pattern but the known ones runs here
    assert taken("a b", pattern=PATTERNS["llama3"])
    for flag in ("lstrip", "rstrip", "single_word"):
        assert not taken("a b", added_tokens=[{"id": 257, "content": "<x>", flag: True}])


def test_an_alphabet_with_gaps_is_refused(folder_with):
    data = byte_level_json([])
    del data["model"]["vocab"]["z"]
    with pytest.raises(Inexact):
        ByteLevel(read(folder_with(data)))


@pytest.mark.parametrize(
    "added",
    [[("<x>", True), ("<x><y>", False)], [("ab", False), ("abab", True), ("ba", False)], [("<a", False), ("a>", True), ("<a>", True)]],
)
def test_added_tokens_that_overlap(folder_with, added):
    entries = [
        {
            "id": 256 + at,
            "content": content,
            "special": special,
            "normalized": False,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
        }
        for at, (content, special) in enumerate(added)
    ]
    pair = Pair(folder_with(byte_level_json([], added_tokens=entries)))
    assert isinstance(pair.ours, ByteLevel)
    for length in range(1, 5):
        for parts in itertools.product(["<x>", "<y>", "a", "b", "ab", "<", ">"], repeat=length):
            text = "".join(parts)
            assert pair.ours.encode(text) == pair.ordinary(text), text


def test_white_space_that_overflows_tiktoken_is_the_librarys(fable_pair):
    for text in (" " * 1_000_000 + "x", ("\t" * 49_999 + "x\n") * 3):
        assert fable_pair.ours.encode(text) == fable_pair.ordinary(text)


def test_long_words_are_no_burden(fable_pair):
    for text in ("x" * 200_000, "!" * 200_000, "7" * 200_000, "'s" * 100_000):
        assert fable_pair.ours.encode(text) == fable_pair.ordinary(text)


def test_text_that_nfc_changes_is_the_librarys(neox_pair):
    for text in ("é", "한글", "a" + "̧́" * 3, "क़", "Å"):
        assert neox_pair.ours.encode(text) == neox_pair.ordinary(text)


def test_ids_need_not_be_in_merge_order(folder_with):
    data = byte_level_json([("a", "b"), ("ab", "ab"), ("b", "a")])
    data["model"]["vocab"].update(ab=258, abab=256, ba=257)
    pair = Pair(folder_with(data))
    assert pair.ours.encode("ababab baab") == pair.ordinary("ababab baab")
    assert pair.ours.token_bytes[256] == b"abab"


@pytest.mark.slow
def test_a_list_of_every_split_of_a_real_vocabulary(real_data, folder_with):
    """cl100k as Llama 3's tokenizer.json is written: 100,000 tokens, every split, whole words first."""
    alphabet = bytes_alphabet()
    lines = (real_data / "tokenizers" / "cl100k_base.tiktoken").read_bytes().splitlines()
    ranks = {"".join(alphabet[byte] for byte in base64.b64decode(token)): int(rank) for token, rank in map(bytes.split, lines)}
    merges = []
    for token in ranks:
        splits = [(token[:at], token[at:]) for at in range(1, len(token)) if token[:at] in ranks and token[at:] in ranks]
        merges += sorted(splits, key=lambda split: (ranks[split[0]], ranks[split[1]]))
    pair = Pair(folder_with(byte_level_json(merges, vocab=ranks, pattern=PATTERNS["llama3"], ignore_merges=True)))
    assert isinstance(pair.ours, ByteLevel)
    text = Path(argparse.__file__).read_text() + "".join(ODD) * 10
    assert pair.ours.encode(text) == pair.ordinary(text)


def test_nothing_heavy_is_loaded_for_it(fable):
    code = (
        "import sys, pathlib; from gencli.tokenizers import load_tokenizer;"
        f"load_tokenizer(pathlib.Path({str(fable)!r})).encode('Once upon a time');"
        "print(*sorted({'requests', 'tokenizers', 'torch', 'numpy', 'regex', 'urllib.request', 'yaml'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
