"""A .tiktoken file gives what tiktoken's own encoding of that file gives."""

from __future__ import annotations

import argparse
import base64
import json
import random
import shutil
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from tiktoken import Encoding
from tiktoken.load import load_tiktoken_bpe
from tiktoken_ext import openai_public

from gencli.errors import RunError
from gencli.tokenizers import encode_pieces, load_tokenizer
from gencli.tokenizers._patterns import PATTERNS
from gencli.tokenizers._ranked import ENCODINGS
from gencli.tokenizers.tiktoken import Tiktoken
from tokenizing import ODD, TEXT


@pytest.fixture(scope="module")
def cl100k(real_data, tmp_path_factory):
    """Ours, and the object that tiktoken itself builds from the same file."""
    folder = tmp_path_factory.mktemp("cl100k")
    file = shutil.copy(real_data / "tokenizers" / "cl100k_base.tiktoken", folder)
    with pytest.MonkeyPatch.context() as patch:  # the file is here, nothing is fetched
        patch.setattr(openai_public, "load_tiktoken_bpe", lambda url, **more: load_tiktoken_bpe(file))
        oracle = Encoding(**openai_public.cl100k_base())
    return load_tokenizer(folder), oracle


def strings(count: int) -> list[str]:
    chance, text = random.Random(count), Path(argparse.__file__).read_text()
    drawn = ["".join(chance.choice(ODD) for _ in range(chance.randrange(25))) for _ in range(count // 2)]
    return drawn + [text[(at * 37) % (len(text) - 200) :][: chance.randrange(150)] for at in range(count // 2)]


def test_ten_thousand_strings_of_cl100k(cl100k):
    ours, oracle = cl100k
    assert isinstance(ours, Tiktoken)
    texts = strings(10_000)
    assert [ours.encode(text) for text in texts] == oracle.encode_ordinary_batch(texts, num_threads=1)
    assert (ours.size, ours.start_ids) == (oracle.n_vocab, ())


@given(text=TEXT)
@settings(max_examples=100)
def test_special_tokens_count_only_where_they_may(cl100k, text):
    ours, oracle = cl100k
    text = f"<|endoftext|>{text}<|fim_prefix|> <|endofprompt|>"
    assert ours.encode(text) == oracle.encode_ordinary(text)
    assert encode_pieces(ours, [(text, True)]) == oracle.encode(text, allowed_special="all")


def test_every_id_has_its_bytes(cl100k):
    ours, oracle = cl100k
    known = {*oracle._mergeable_ranks.values(), *oracle._special_tokens.values()}
    assert all(ours.token_bytes[id] == (oracle.decode_single_token_bytes(id) if id in known else b"") for id in range(0, ours.size, 7))


@pytest.mark.parametrize("name", ["cl100k_base", "o200k_base"])
def test_what_is_known_by_name_is_what_tiktoken_knows(monkeypatch, name):
    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", lambda *given, **more: {})
    theirs = getattr(openai_public, name)()
    assert dict(ENCODINGS[name].special) == theirs["special_tokens"]
    assert ENCODINGS[name].pattern == theirs["pat_str"]


def ranks(count: int) -> list[bytes]:
    """All bytes, then pairs and longer tokens of letters, `count` in all."""
    tokens = [bytes([byte]) for byte in range(256)]
    letters = b" abcdefghijklmnopqrstuvwxyz0123456789"
    tokens += [bytes([one, other]) for one in letters for other in letters]
    tokens += [b"the", b" the", b"ing", "é".encode()]
    return tokens + [b"\xff" + at.to_bytes(3, "big") for at in range(count - len(tokens))]


def written(tokens: list[bytes]) -> bytes:
    return b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for rank, token in enumerate(tokens))


def test_llama_3_in_text_form(tmp_path):
    tokens = ranks(128_000)
    (tmp_path / "tokenizer.model").write_bytes(written(tokens))
    ours = load_tokenizer(tmp_path)
    assert isinstance(ours, Tiktoken)
    names = ["begin_of_text", "start_header_id", "end_header_id", "eot_id", "reserved_special_token_0", "reserved_special_token_246"]
    assert [ours.special[f"<|{name}|>"] for name in names] == [128_000, 128_006, 128_007, 128_009, 128_002, 128_255]
    assert (ours.size, ours.start_ids) == (128_256, (128_000,))
    oracle = Encoding(
        "x", pat_str=PATTERNS["llama3"], mergeable_ranks={token: rank for rank, token in enumerate(tokens)}, special_tokens={}
    )
    for text in strings(300):
        assert ours.encode(text) == oracle.encode_ordinary(text)


def test_qwen_by_name_normalises(tmp_path):
    tokens = ranks(2000)
    (tmp_path / "qwen.tiktoken").write_bytes(written(tokens))
    ours = load_tokenizer(tmp_path)
    assert (ours.special["<|endoftext|>"], ours.special["<|im_end|>"], ours.size) == (151_643, 151_645, 151_851)
    oracle = Encoding("x", pat_str=PATTERNS["qwen2"], mergeable_ranks={token: rank for rank, token in enumerate(tokens)}, special_tokens={})
    for text in ["e\u0301", "1234", *strings(300)]:
        assert ours.encode(text) == oracle.encode_ordinary(unicodedata.normalize("NFC", text))


def test_a_config_beside_it_has_the_last_word(tmp_path):
    (tmp_path / "own.tiktoken").write_bytes(written(ranks(2000)))
    config = {
        "encoding_name": "o200k_base", "add_bos_token": True, "bos_token": {"content": "<b>"},
        "added_tokens_decoder": {"2000": {"content": "<b>", "special": True}, "2001": {"content": "<x>", "special": False}},
    }  # fmt: skip
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ours = load_tokenizer(tmp_path)
    assert (ours.start_ids, ours.special["<b>"], ours.special["<|endoftext|>"]) == ((2000,), 2000, 199_999)
    assert ours.encode("a<x><b>") == [97, 2001, *ours.encode("<b>")]


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("mine.tiktoken", written(ranks(2000)), "no encoding is known as 'mine'.*Choices: r50k_base"),
        ("tokenizer.model", written(ranks(2000)), "no encoding is known as 'tokenizer'"),
        ("qwen.tiktoken", b"YQ== 0\n??? 1\n", "line 2 is no base64 and rank"),
        ("qwen.tiktoken", b"YQ== 0\nYg==\n", "line 2 is no base64"),
        ("qwen.tiktoken", b"YQ== 0\nYg== 0\n", "the same rank"),
        ("qwen.tiktoken", b"YQ== 0\nYQ== 1\n", "the same rank"),
        ("qwen.tiktoken", b"YQ== -1\n", "outside 0 to"),
        ("qwen.tiktoken", b"YQ== 99999999999\n", "outside 0 to"),
        ("qwen.tiktoken", b"YQ== 0\n", "bytes are no tokens"),
        ("qwen.tiktoken", b"", "a token is empty, or"),
        ("qwen.tiktoken", b"\n" * (1 << 23), "more than 4194304 lines"),
        ("qwen.tiktoken", b"a" * (1 << 25) + b"a", "larger than 32 MB"),
    ],
)
def test_what_is_unknown_or_damaged_is_one_sentence(tmp_path, name, data, why):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RunError, match=why):
        load_tokenizer(tmp_path)


def test_several_files_are_no_choice(tmp_path):
    for name in ("a.tiktoken", "b.tiktoken"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(RunError, match=r"several .tiktoken files: a.tiktoken, b.tiktoken"):
        load_tokenizer(tmp_path)


def test_so_much_white_space_is_one_sentence(cl100k):
    with pytest.raises(RunError, match="white space"):
        cl100k[0].encode(" " * 200_000)
