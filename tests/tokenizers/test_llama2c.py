"""llama2.c's tokenizer.bin, written as its export writes it, gives what the vocabulary that it was made from gives."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings

from gencli.errors import RunError
from gencli.tokenizers import load_tokenizer
from tokenizing import ODD, TEXT


def written(tokens: list[str], scores: list[float]) -> bytes:
    texts = [token.replace("▁", " ").encode() for token in tokens]
    texts[1:3] = b"\n<s>\n", b"\n</s>\n"
    parts = [struct.pack("<fi", score, len(text)) + text for text, score in zip(texts, scores, strict=True)]
    return struct.pack("<i", max(map(len, texts))) + b"".join(parts)


@pytest.fixture(scope="module")
def folder(real_data, tmp_path_factory) -> Path:
    """stories260k's vocabulary; a score is the place of the first merge that makes a piece."""
    model = json.loads((real_data / "stories260k" / "tokenizer.json").read_text())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    merges = ["".join(merge.split(" ") if isinstance(merge, str) else merge) for merge in model["merges"]]
    rank = {piece: at for at, piece in reversed(list(enumerate(merges)))}
    folder = tmp_path_factory.mktemp("llama2c")
    (folder / "tokenizer.bin").write_bytes(written(tokens, [-float(rank.get(token, len(rank))) for token in tokens]))
    return folder


@given(text=TEXT)
@settings(max_examples=60)
def test_the_ids_are_those_of_the_folder(stories_pair, folder, text):
    ours = load_tokenizer(folder)
    assert ours.encode(text) == stories_pair.ours.encode(text)


def test_the_rest_is_that_of_the_folder(stories_pair, folder):
    ours = load_tokenizer(folder)
    assert (ours.size, ours.start_ids, ours.strips_start) == (512, (1,), True)
    assert ours.token_bytes == stories_pair.ours.token_bytes
    for one in ODD:
        assert ours.encode(one + one) == stories_pair.ours.encode(one + one)


FEW = written(["<unk>", "<s>", "</s>", "a"], [0.0] * 4)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "fewer tokens"),
        (FEW[:-1], "claims 1 bytes"),
        (FEW + b"\0" * 5, "ends within a token"),
        (FEW + struct.pack("<fi", 0, -1), "claims -1 bytes"),
        (FEW + struct.pack("<fi", 0, 2**31 - 1), "claims 2147483647 bytes"),
        (FEW + struct.pack("<fi", 0, 1) + b"\xff", "no UTF-8"),
        (FEW + struct.pack("<fi", 0, 1) + b"a", "the same"),
        (FEW + struct.pack("<fi", float("nan"), 1) + b"b", "not a number"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, data, why):
    (tmp_path / "tokenizer.bin").write_bytes(data)
    with pytest.raises(RunError, match=why):
        load_tokenizer(tmp_path)
