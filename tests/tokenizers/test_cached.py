"""GPT-2's vocabulary out of tiktoken's cache: where tiktoken itself looks for it, with its ids, and nothing that is not it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiktoken
import tiktoken.load
import tiktoken_ext.openai_public as published

from gencli.errors import RunError
from gencli.tokenizers import encode_pieces, load_tokenizer
from gencli.tokenizers._cached import GPT2, MERGES, RANKS, VOCAB, cache
from gencli.tokenizers._decoding import spelled
from gencli.tokenizers.byte_level import ByteLevel
from gencli.tokenizers.tiktoken import Tiktoken
from tokenizing import drawn_strings

VARIABLES = ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR")


@pytest.fixture
def files(real_data: Path) -> dict[str, bytes]:
    """What tiktoken keeps, byte for byte, written anew from GPT-2's tokenizer.json."""
    model = json.loads((real_data / "tokenizers" / "gpt2.tokenizer.json").read_text())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    ranks = b"".join(base64.b64encode(spelled(token)) + b" %d\n" % id for token, id in model["vocab"].items() if id < 50256)
    contents = (json.dumps(model["vocab"]).encode(), "\n".join(("#version: 0.2", *merges, "")).encode(), ranks)
    found = {}
    for (name, digest), content in zip((VOCAB, MERGES, RANKS), contents, strict=True):
        assert hashlib.sha256(content).hexdigest() == digest
        found[name] = content
    return found


@pytest.fixture
def put(tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Lays files into a cache of the test's own, and lets tiktoken fetch none."""

    def lay(*names: str) -> Path:
        place = tmp_path / "cache"
        place.mkdir(exist_ok=True)
        for name in names:
            (place / name).write_bytes(files[name])
        monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(place))
        monkeypatch.setattr(tiktoken.load, "read_file", lambda address: pytest.fail(f"{address} would be fetched"))
        return place

    return lay


def test_the_files_are_those_that_tiktoken_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(published, "data_gym_to_mergeable_bpe_ranks", lambda **given: asked.update(given))
    monkeypatch.setattr(published, "load_tiktoken_bpe", lambda address, expected_hash: asked.update(ranks=(address, expected_hash)))
    published.gpt2()
    published.r50k_base()
    pairs = [(asked["encoder_json_file"], asked["encoder_json_hash"]), (asked["vocab_bpe_file"], asked["vocab_bpe_hash"]), asked["ranks"]]
    assert [(hashlib.sha1(address.encode()).hexdigest(), digest) for address, digest in pairs] == [VOCAB, MERGES, RANKS]


@pytest.mark.parametrize(("names", "encoding", "kind"), [((VOCAB[0], MERGES[0]), "gpt2", ByteLevel), ((RANKS[0],), "r50k_base", Tiktoken)])
def test_the_ids_are_tiktokens(tmp_path: Path, put: Callable[..., Path], names: tuple[str, ...], encoding: str, kind: type[Any]) -> None:
    put(*names)
    ours, oracle = load_tokenizer(tmp_path, published=GPT2), tiktoken.get_encoding(encoding)
    assert isinstance(ours, kind)
    assert (ours.size, dict(ours.special), ours.start_ids) == (oracle.n_vocab, {"<|endoftext|>": oracle.eot_token}, ())
    texts = drawn_strings(1000, ["<|endoftext|>"])
    assert [ours.encode(text) for text in texts] == [oracle.encode_ordinary(text) for text in texts]
    assert [encode_pieces(ours, [(text, True)]) for text in texts] == [oracle.encode(text, allowed_special="all") for text in texts]


@pytest.mark.parametrize(
    ("stated", "folder"),
    [
        ({}, "tmp/data-gym-cache"),
        ({"DATA_GYM_CACHE_DIR": "b"}, "b"),
        ({"TIKTOKEN_CACHE_DIR": "a", "DATA_GYM_CACHE_DIR": "b"}, "a"),
        ({"TIKTOKEN_CACHE_DIR": "", "DATA_GYM_CACHE_DIR": "b"}, None),
    ],
)
def test_the_cache_is_where_tiktoken_has_it(
    tmp_path: Path, put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, stated: dict[str, str], folder: str | None
) -> None:
    """tiktoken itself finds there what was laid there, under the name that we look for."""
    laid = put(VOCAB[0], MERGES[0])
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in stated.items():
        monkeypatch.setenv(name, value and str(tmp_path / value))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    assert cache() == (None if folder is None else tmp_path / folder)
    if folder is not None:
        shutil.copytree(laid, tmp_path / folder)
        assert published.gpt2()["mergeable_ranks"][b" the"] == load_tokenizer(tmp_path, published=GPT2).encode(" the")[0] == 262
    else:
        with pytest.raises(RunError, match=r"takes GPT-2's vocabulary: lay GPT-2's tokenizer.json, or its vocab.json and merges.txt"):
            load_tokenizer(tmp_path, published=GPT2)


def test_what_is_not_it_is_not_taken(tmp_path: Path, put: Callable[..., Path]) -> None:
    """A cache may lie where others write: a changed file, a pipe without an end, a folder."""
    place = put(VOCAB[0], MERGES[0])
    (place / "tokenizer_config.json").write_text('{"add_bos_token": true, "add_prefix_space": true}')  # no file of a cache
    assert load_tokenizer(tmp_path, published=GPT2).start_ids == ()
    (place / VOCAB[0]).write_bytes((place / VOCAB[0]).read_bytes().replace(b'"!": 0', b'"!": 1').replace(b'"\\"": 1', b'"\\"": 0'))
    (place / RANKS[0]).mkdir()
    refused = f"it is also found in {place}, once tiktoken has fetched it: python -c"
    with pytest.raises(RunError, match=refused):
        load_tokenizer(tmp_path, published=GPT2)
    (place / VOCAB[0]).unlink()
    os.mkfifo(place / VOCAB[0])
    with pytest.raises(RunError, match=refused):
        load_tokenizer(tmp_path, published=GPT2)


def test_what_lies_in_the_folder_counts_before_it(tmp_path: Path, put: Callable[..., Path], fable: Path) -> None:
    put(VOCAB[0], MERGES[0])
    shutil.copy(fable / "tokenizer.json", tmp_path)
    assert load_tokenizer(tmp_path, published=GPT2).size == load_tokenizer(fable).size
