"""SentencePiece models give what the sentencepiece package gives: a real one, and small ones of every kind trained here."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import random
import shutil
import struct
import time
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from gencli.errors import RunError
from gencli.tokenizers import Tokenizer, load_tokenizer
from gencli.tokenizers._protobuf import fields
from gencli.tokenizers._sentencepiece import pieces_of
from gencli.tokenizers.huggingface import Huggingface
from gencli.tokenizers.unigram import Unigram
from tokenizing import ODD, TEXT, vocabulary_of

TRAINED = {
    "bpe": {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity", "remove_extra_whitespaces": False},
    "bpe-nfkc": {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "nmt_nfkc"},
    "bpe-unknown": {"model_type": "bpe", "normalization_rule_name": "nfkc_cf", "user_defined_symbols": ["<x>", "ﬁ", "  "]},
    "bpe-bare": {"model_type": "bpe", "add_dummy_prefix": False, "normalization_rule_name": "identity", "bos_id": -1},
    "unigram": {"model_type": "unigram", "byte_fallback": True, "normalization_rule_name": "nmt_nfkc"},
    "unigram-unknown": {"model_type": "unigram", "normalization_rule_name": "identity", "user_defined_symbols": ["<x>", "é", "\t"]},
    "unigram-bare": {
        "model_type": "unigram", "add_dummy_prefix": False, "remove_extra_whitespaces": False, "byte_fallback": True,
        "normalization_rule_name": "nfkc", "control_symbols": ["<c>"],
    },
}  # fmt: skip


class Both:
    """Ours and sentencepiece's own, from one file."""

    def __init__(self, folder: Path) -> None:
        self.oracle = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
        self.ours: Tokenizer = load_tokenizer(folder)

    def check(self, text: str) -> None:
        assert self.ours.encode(text) == self.oracle.encode(text), text


@pytest.fixture(scope="module")
def corpus() -> list[str]:
    lines = Path(argparse.__file__).read_text().splitlines()
    return [line for line in lines if line.strip()] + ["".join(ODD[at:] + ODD[:at]) for at in range(0, len(ODD), 7)]


@pytest.fixture(scope="module", params=TRAINED)
def trained(request, corpus, tmp_path_factory) -> Both:
    folder, model = tmp_path_factory.mktemp(request.param), io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=model, vocab_size=700, hard_vocab_limit=False, num_threads=1,
        minloglevel=2, max_sentence_length=100_000, character_coverage=0.98, **TRAINED[request.param],
    )  # fmt: skip
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    both = Both(folder)
    assert isinstance(both.ours, Unigram if request.param.startswith("unigram") else Huggingface)
    return both


@pytest.fixture(scope="module")
def mistral_folder(real_data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mistral")
    shutil.copy(real_data / "tokenizers" / "mistral-v3.tokenizer.model", folder / "tokenizer.model")
    return folder


@pytest.fixture(scope="module")
def mistral(mistral_folder) -> Both:
    return Both(mistral_folder)


def strings(pieces: list[str], count: int) -> list[str]:
    """Random characters, real text, pieces put together, runs of one character."""
    chance, text = random.Random(count), Path(argparse.__file__).read_text()
    drawn = []
    for at in range(count // 4):
        drawn.append("".join(chance.choice(ODD) for _ in range(chance.randrange(30))))
        drawn.append(text[(at * 37) % (len(text) - 200) :][: chance.randrange(200)])
        drawn.append("".join(chance.choice(pieces) for _ in range(6)).replace("▁", " "))
        drawn.append("".join(chance.choice("ab -=*é") * chance.randrange(1, 12) for _ in range(5)))
    return drawn


def test_ten_thousand_strings_of_a_real_model(mistral):
    """Mistral's third: 32,768 pieces, BPE with byte fallback, 750 control and 20 user-defined pieces."""
    assert mistral.ours.size == mistral.oracle.get_piece_size() == 32768
    assert mistral.ours.start_ids == (mistral.oracle.bos_id(),)
    for text in strings([mistral.oracle.id_to_piece(id) for id in range(32768)], 10_000):
        mistral.check(text)
    for character in " *-=#_/\n\ta":
        for length in range(1, 70):
            mistral.check(character * length)


def test_decoding_a_real_model(mistral):
    for text in strings([mistral.oracle.id_to_piece(id) for id in range(1000, 32768)], 1000):
        ids = mistral.oracle.encode(text)
        joined = b"".join(mistral.ours.token_bytes[id] for id in ids).decode("utf-8", "replace")
        assert joined.removeprefix(" ") == mistral.oracle.decode(ids)
    assert vocabulary_of(mistral.ours).strips_start


def test_special_tokens_of_a_real_model_count_only_where_they_may(mistral):
    text = "[INST] Hi </s> <s> <0x41>"
    assert mistral.ours.encode(text) == mistral.oracle.encode(text)
    found = [id for _, _, id in mistral.ours.find_special(text, 0, len(text))]
    assert found == [mistral.oracle.piece_to_id(piece) for piece in ("[INST]", "</s>", "<s>")]


def test_strings_of_every_kind_of_model(trained):
    for text in strings([trained.oracle.id_to_piece(id) for id in range(trained.oracle.get_piece_size())], 1200):
        trained.check(text)


@pytest.mark.slow
def test_ten_thousand_strings_of_every_kind_of_model(trained):
    for text in strings([trained.oracle.id_to_piece(id) for id in range(trained.oracle.get_piece_size())], 10_004):
        trained.check(text)


@given(text=TEXT)
@settings(max_examples=60)
def test_any_text_of_every_kind_of_model(trained, text):
    trained.check(text)


def test_every_pair_of_odd_pieces(trained):
    for at, one in enumerate(ODD):
        for other in ODD[at % 3 :: 3]:
            trained.check(one + other)


def test_text_after_a_special_token_gets_no_space(mistral):
    assert mistral.ours.encode("Hello", at_start=False) != mistral.ours.encode("Hello")
    joined = b"".join(mistral.ours.token_bytes[id] for id in mistral.ours.encode("Hello", at_start=False))
    assert joined == b"Hello"


def varint(number: int) -> bytes:
    rest, low = number >> 7, number & 0x7F
    return bytes([low]) if not rest else bytes([low | 0x80]) + varint(rest)


def message(*values: tuple[int, bytes | int | float]) -> bytes:
    """Protobuf, written by hand."""
    parts = []
    for field, value in values:
        if isinstance(value, float):
            parts.append(varint(field << 3 | 5) + struct.pack("<f", value))
        elif isinstance(value, int):
            parts.append(varint(field << 3) + varint(value))
        else:
            parts.append(varint(field << 3 | 2) + varint(len(value)) + value)
    return b"".join(parts)


def model(*pieces: tuple[str, float, int], trainer: bytes = b"\x18\x02", normalizer: bytes = b"") -> bytes:
    written = [(1, message((1, piece.encode()), (2, score), (3, type))) for piece, score, type in pieces]
    return message(*written, (2, trainer), (3, normalizer))


FEW = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("a", -1.0, 1), ("b", -2.0, 1), ("ab", -0.5, 1), ("▁", -3.0, 1)]


def test_a_model_written_by_hand():
    assert list(fields(message((1, 300), (2, b"xy"), (3, 0.5)))) == [(1, 300), (2, b"xy"), (3, struct.pack("<f", 0.5))]
    pieces = pieces_of(Path("x"), model(*FEW, normalizer=message((3, 0), (4, 0))))
    assert (pieces.pieces, pieces.prefix, pieces.squeeze, pieces.unknown) == ([piece for piece, _, _ in FEW], False, False, 0)


WORDS = ["".join(word) for length in range(1, 9) for word in itertools.product("ab", repeat=length)]


@given(pieces=st.lists(st.text("ab", min_size=2, max_size=6), max_size=9, unique=True), order=st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_any_pieces_merge_as_sentencepiece_merges_them(pieces, order):
    """As long as no two have the same score: a tokenizer.json can only say which merge goes first, not that two are equal."""
    scores = order.sample(range(100), len(pieces))
    singles = [("<unk>", 0.0, 2), *((piece, -1000.0, 1) for piece in "ab▁")]
    data = model(*singles, *((piece, -float(score), 1) for piece, score in zip(pieces, scores, strict=True)), normalizer=message((3, 0)))
    oracle = sentencepiece.SentencePieceProcessor(model_proto=data)
    ours = Huggingface(pieces_of(Path("x"), data).source())
    assert [ours.encode(word) for word in WORDS] == oracle.encode(WORDS)


@pytest.mark.parametrize(("stated", "start"), [({}, (1,)), ({"add_bos_token": True}, (1,)), ({"add_bos_token": False}, ())])
def test_a_config_may_leave_the_start_token_out(tmp_path, stated, start):
    (tmp_path / "tokenizer.model").write_bytes(model(*FEW))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(stated))
    assert load_tokenizer(tmp_path).start_ids == start


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "0 pieces"),
        (b"\x0a\x05\x0a\x03abc" + b"\x0a\xff\xff\xff\xff\x0f", "claims"),
        (model(*FEW)[:-3], "claims|ends within"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "longer than 64 bits"),
        (b"\x0b\x0b", "unknown kind"),
        (model(*FEW, ("a", -1.0, 1)), "the same"),
        (model(*FEW, ("", -1.0, 1)), "is empty"),
        (model(*FEW, ("c", -1.0, 9)), "unknown kind 9"),
        (model(*FEW, ("c", float("nan"), 1)), "not a number"),
        (model(*FEW, ("c", -1.0, 5)), "marked unused"),
        (model(*FEW, trainer=b"\x18\x03"), "only Unigram and BPE"),
        (model(*FEW, trainer=message((3, 2), (24, 1))), "spaces before words"),
        (model(*FEW, normalizer=message((2, b"\xff\xff\xff\xff"))), "does not fit"),
        (model(*FEW, ("c" * 600, -1.0, 1)), "a piece of 600 characters"),
        (model(*FEW, *((f"{at:01000d}", -1.0, 1) for at in range(5000))), "more than 4,194,304 characters"),
        (message((1, message((1, b"\xff\xfe")))), "no SentencePiece model"),
        (message((1, 5)), "a part of it is a number"),
    ],
)
def test_a_hostile_model_is_refused_at_once(tmp_path, data, why):
    (tmp_path / "tokenizer.model").write_bytes(data)
    start = time.process_time()
    with pytest.raises(RunError, match=why):
        load_tokenizer(tmp_path)
    assert time.process_time() - start < 2


@given(data=st.binary(max_size=60), cut=st.integers(0, 200))
@settings(max_examples=100)
def test_whatever_bytes_lead_to_a_sentence(data, cut):
    whole = model(*FEW, normalizer=message((2, data)))
    for damaged in (data, whole[:cut] + data + whole[cut:]):
        with contextlib.suppress(RunError, ValueError):
            pieces_of(Path("x"), damaged).prepare("a ﬁ b", True)
