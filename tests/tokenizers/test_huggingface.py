"""Everything that is no byte-level BPE: the library's ids, and bytes of each token that join to the library's text."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from gencli.errors import RunError
from gencli.tokenizers import encode_pieces, load_tokenizer
from gencli.tokenizers.huggingface import Huggingface
from tokenizing import ODD, TEXT, Pair

PIECES = [
    "<unk>",
    "<s>",
    "</s>",
    *(f"<0x{byte:02X}>" for byte in range(256)),
    "▁",
    "a",
    "b",
    "c",
    ".",
    "é",
    "中",
    "▁a",
    "ab",
    "▁ab",
    "▁▁",
    "▁▁▁▁",
    "c▁",
]
LETTERS = ["a", "b", "c", "d", "e", "'", "s", "t", "n", "o", ".", ","]


def sentencepiece_bpe(prepend: str) -> Tokenizer:
    """A BPE with byte fallback as Llama, Mistral and Gemma have it."""
    vocab = {piece: id for id, piece in enumerate(PIECES)}
    merges = [("▁", "a"), ("a", "b"), ("▁", "ab"), ("▁", "▁"), ("▁▁", "▁▁"), ("c", "▁")]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tail = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if prepend == "normalizer":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    elif prepend == "none":
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=prepend, split=False)
    tokenizer.decoder = decoders.Sequence(tail if prepend == "none" else [*tail, decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken("<s>", normalized=False), AddedToken("</s>", normalized=False)])
    return tokenizer


def unigram(scheme: str) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), *((piece, -1.0 - at / 9) for at, piece in enumerate(PIECES[259:]))], 0, False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace("▁", prepend_scheme=scheme)
    return tokenizer


def word_piece(cleanup: bool) -> Tokenizer:
    tokens = ["[UNK]", "[CLS]", "[SEP]", *LETTERS, *(f"##{letter}" for letter in LETTERS), "do", "not", "##ab", "ab", "'s", "n't"]
    tokenizer = Tokenizer(models.WordPiece({token: id for id, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece("##", cleanup)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    tokenizer.add_special_tokens(["[CLS]", "[SEP]"])
    return tokenizer


def word_level(decoder: object) -> Tokenizer:
    """Decoders that cannot be said token by token are asked."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "bc": 2, "d": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if decoder is not None:
        tokenizer.decoder = decoder
    return tokenizer


def end_of_word() -> Tokenizer:
    vocab = {"<unk>": 0, "a": 1, "b": 2, "a</w>": 3, "b</w>": 4, "ab</w>": 5}
    tokenizer = Tokenizer(models.BPE(vocab, [("a", "b</w>")], end_of_word_suffix="</w>", unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.BPEDecoder("</w>")
    return tokenizer


MADE = {
    **{f"bpe {scheme}": lambda scheme=scheme: sentencepiece_bpe(scheme) for scheme in ("normalizer", "none", "first", "always", "never")},
    **{f"unigram {scheme}": lambda scheme=scheme: unigram(scheme) for scheme in ("first", "always", "never")},
    "word piece": lambda: word_piece(False),
    "word piece, cleaned": lambda: word_piece(True),
    "word level": lambda: word_level(None),
    "word level, replaced": lambda: word_level(decoders.Replace("b", "x")),
    "word level, fused": lambda: word_level(decoders.Sequence([decoders.Fuse(), decoders.Replace("bc", "x")])),
}


@pytest.fixture(scope="module", params=[*MADE, "stories", "phi-3"])
def pair(request, tmp_path_factory) -> Pair:
    if request.param == "stories":
        return request.getfixturevalue("stories_pair")
    if request.param == "phi-3":
        return request.getfixturevalue("phi3_pair")
    folder = tmp_path_factory.mktemp("made")
    (folder / "tokenizer.json").write_text(MADE[request.param]().to_str())
    return Pair(folder)


def test_it_is_what_runs_these(pair):
    assert isinstance(pair.ours, Huggingface)
    assert len(pair.ours.token_bytes) == pair.ours.size == pair.oracle.get_vocab_size()


@given(text=TEXT)
@settings(max_examples=100, deadline=None)
def test_text_becomes_the_librarys_ids(pair, text):
    assert pair.ours.encode(text) == pair.ordinary(text)


def test_every_pair_of_odd_pieces(pair):
    for one in ODD:
        for other in ODD[::3]:
            assert pair.ours.encode(one + other) == pair.ordinary(one + other), (one, other)


def test_joined_bytes_are_the_librarys_text(pair):
    """For bytes that are no character the library writes another number of U+FFFD; they have a test of their own."""
    seed = random.Random(3)
    for _ in range(1500):
        ids = [seed.randrange(pair.ours.size) for _ in range(seed.randint(1, 6))]
        theirs = pair.oracle.decode(ids, skip_special_tokens=True)
        tokens = [pair.oracle.id_to_token(id) for id in ids]
        first = next((token for token in tokens if token not in pair.ours.special), "")
        if "▁" in first[1:] or first.startswith("##"):  # alone at the start a decoder drops all its spaces, or keeps its mark
            continue
        if "\ufffd" in theirs:
            continue
        assert pair.decoded(ids) == theirs, tokens


def test_what_was_encoded_is_decoded(pair):
    if pair.oracle.get_vocab_size() > 500:
        for text in ("Once upon a time", "naïve café, 中文 😀!", " two  spaces", "a\nb\tc"):
            assert pair.decoded(pair.ours.encode(text)) == text


def test_bytes_that_are_no_character_become_what_utf8_says(stories_pair):
    ids = [stories_pair.oracle.token_to_id(f"<0x{byte:02X}>") for byte in (0xE2, 0x82, 0x41, 0xFF, 0xE2, 0x82, 0xAC)]
    assert stories_pair.decoded(ids) == b"\xe2\x82A\xff\xe2\x82\xac".decode("utf-8", "replace")


def test_suffixes_become_spaces(tmp_path):
    (tmp_path / "tokenizer.json").write_text(end_of_word().to_str())
    assert load_tokenizer(tmp_path).token_bytes == [b"<unk>", b"a", b"b", b"a ", b"b ", b"ab "]


def test_special_tokens_are_their_own_text(phi3_pair, stories_pair):
    for pair in (phi3_pair, stories_pair):
        for text, id in pair.ours.special.items():
            assert pair.ours.token_bytes[id] == text.encode()


def test_a_space_at_the_start_is_the_tokenizers(stories_pair):
    ids = stories_pair.ours.encode("Once")
    assert stories_pair.ours.strips_start
    assert stories_pair.decoded(ids) == "Once"
    assert b"".join(stories_pair.ours.token_bytes[id] for id in ids) == b" Once"


def test_only_the_first_word_gets_a_space_where_the_file_says_first(tmp_path):
    (tmp_path / "tokenizer.json").write_text(sentencepiece_bpe("first").to_str())
    tokenizer = load_tokenizer(tmp_path)
    for _ in range(2):
        assert tokenizer.encode("ab") == [PIECES.index("▁a"), PIECES.index("b")]
        assert tokenizer.encode("ab", at_start=False) == [PIECES.index("ab")]


def test_truncation_and_padding_of_the_file_are_not_for_prompts(tmp_path):
    tokenizer = sentencepiece_bpe("always")
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=16)
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str())
    assert len(load_tokenizer(tmp_path).encode("abcabcabcabc")) == 9


def test_an_added_token_that_the_library_would_number_otherwise(tmp_path):
    data = json.loads(sentencepiece_bpe("always").to_str())
    data["added_tokens"].append({**data["added_tokens"][0], "id": 5000, "content": "<gap>"})
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(RunError, match="leaves a gap"):
        load_tokenizer(tmp_path)


def test_ids_that_no_token_has_are_empty(tmp_path):
    data = json.loads(word_piece(False).to_str())
    data["model"]["vocab"]["zz"] = 100
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.size == 101
    assert tokenizer.token_bytes[99] == b""
    assert tokenizer.token_bytes[100] == b" zz"


@given(ids=st.lists(st.integers(0, 511), max_size=20))
@settings(max_examples=200, deadline=None)
def test_random_ids_of_a_real_one(stories_pair, ids):
    theirs = stories_pair.oracle.decode(ids, skip_special_tokens=True)
    if "\ufffd" not in theirs:
        assert stories_pair.decoded(ids) == theirs


@pytest.mark.parametrize("kind", ["unigram", "word level"])
def test_a_vocabulary_that_holds_special_tokens_among_its_words_does_not_make_them_of_typed_text(folder_with, kind):
    if kind == "unigram":
        tokenizer = unigram("never")
        words = [("<unk>", 0.0), ("</s>", 0.0), *((piece, -3.0) for piece in "</s>ab▁")]
        tokenizer.model = models.Unigram(list(dict(words).items()), 0, False)
        tokenizer.add_special_tokens(["</s>", "<unk>"])
    else:
        tokenizer = word_level(None)
        tokenizer.model = models.WordLevel({"[UNK]": 0, "[CLS]": 1, "a": 2, "CLS": 3}, unk_token="[UNK]")
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.add_special_tokens(["[CLS]", "[UNK]"])
    pair = Pair(folder_with(tokenizer.to_str()))
    special = "</s>" if kind == "unigram" else "[CLS]"
    typed = f"a {special} b {special}{special}"
    assert pair.ours.special[special] in pair.ordinary(typed)  # the library alone would
    assert pair.ours.special[special] not in pair.ours.encode(typed)
    assert encode_pieces(pair.ours, [(typed, True)]).count(pair.ours.special[special]) == 3
    assert pair.ours.encode("a b é") == pair.ordinary("a b é")
    if kind == "unigram":
        assert pair.decoded(pair.ours.encode(typed)) == typed
