"""A tokenizer as a GGUF vocabulary: its tokens, types and scores, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gencli.errors import GencliError
from gencli.formats import open_checkpoint
from gencli.tokenizers import load_tokenizer
from gencli.tokenizers._gguf import PRE as READ
from gencli.tokenizers._patterns import PATTERNS
from gencli.vocabularies import BYTE, CONTROL, NORMAL, PRE, UNKNOWN, UNUSED, USER_DEFINED, vocabulary_of
from weights import random_folder


@pytest.fixture
def folder(fable: Path, tmp_path: Path) -> Path:
    return random_folder(tmp_path / "folder", fable)


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads((folder / "tokenizer.json").read_text())
    edit(data)
    (folder / "tokenizer.json").write_text(json.dumps(data))


def test_a_byte_level_vocabulary(folder: Path) -> None:
    found = vocabulary_of(open_checkpoint(folder))
    data = json.loads((folder / "tokenizer.json").read_text())["model"]
    assert (found.kind, found.pre, found.add_bos, found.bos, found.eos, found.unk) == ("gpt2", "dbrx", False, 0, 0, None)
    assert found.tokens == list(data["vocab"])
    assert found.merges == [" ".join(merge) for merge in data["merges"]]
    assert found.types == [CONTROL] * 3 + [NORMAL] * 4093


def test_places_without_a_token_are_unused(fable: Path, tmp_path: Path) -> None:
    folder = random_folder(tmp_path / "folder", fable, vocab_size=4100)
    change(folder, lambda data: data["added_tokens"].append({"id": 4097, "content": "<own>", "special": False}))
    found = vocabulary_of(open_checkpoint(folder))
    assert found.tokens[4096:] == ["[PAD4096]", "<own>", "[PAD4098]", "[PAD4099]"]
    assert found.types[4096:] == [UNUSED, USER_DEFINED, UNUSED, UNUSED]


def test_the_scores_of_merges(real_data: Path) -> None:
    found = vocabulary_of(open_checkpoint(real_data / "stories260k"))
    assert (found.kind, found.bos, found.add_bos, found.add_space_prefix) == ("llama", 1, True, True)
    assert found.types[:4] == [UNKNOWN, CONTROL, CONTROL, BYTE]
    merges = json.loads((real_data / "stories260k" / "tokenizer.json").read_text())["model"]["merges"]
    made = [found.scores[found.tokens.index("".join(merge))] for merge in merges]
    assert made == sorted(made, reverse=True)
    assert max(made) == 0


def test_every_name_for_cutting_words_is_one_that_is_read() -> None:
    assert set(PRE) == set(PATTERNS)
    assert {name for names in PRE.values() for name in names if name} <= set(READ)


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("whole", [True, False])
def test_a_pattern_cuts_the_same_after_it_went_through_a_vocabulary(folder: Path, name: str, whole: bool) -> None:
    def edit(data: dict[str, Any]) -> None:
        data["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = PATTERNS[name]
        data["model"]["ignore_merges"] = whole

    change(folder, edit)
    before = load_tokenizer(folder)
    try:
        vocabulary = vocabulary_of(open_checkpoint(folder))
    except GencliError as error:
        assert "no name for how this tokenizer cuts" in str(error)  # noqa: PT017
        return
    after = load_tokenizer(folder, vocabulary)
    for text in ("It's 12345 o'clock,\r\n\n  said HE'LL  ünd\t\tso —  ", "  a\n b", "don'T 7/8\n/x", "x" * 50):
        assert after.encode(text) == before.encode(text)


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unigram": (lambda data: data.update(added_tokens=[], model={"type": "Unigram", "vocab": [["a", 0.0]]}), "of the type 'Unigram'"),
    "another pattern": (
        lambda data: data["pre_tokenizer"]["pretokenizers"][0]["pattern"].update(Regex=r"\d+|\D+"),
        "llama.cpp has no name",
    ),
    "tokens that are no bytes": (lambda data: data.update(decoder={"type": "Fuse"}), "neither byte-level nor SentencePiece's"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_llama_cpp_cannot_do_is_refused(folder: Path, kind: str) -> None:
    edit, says = REFUSED[kind]
    change(folder, edit)
    with pytest.raises(GencliError, match=says):
        vocabulary_of(open_checkpoint(folder))
