"""A vocabulary as a GGUF file holds it gives the ids of the tokenizer that it was made from."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from tokenizers import Tokenizer as Library
from tokenizers import models, pre_tokenizers, trainers

from gencli.errors import RunError
from gencli.formats import GGUFVocabulary
from gencli.tokenizers import load_tokenizer
from gencli.tokenizers._gguf import PRE
from gencli.tokenizers.byte_level import ByteLevel
from gencli.tokenizers.huggingface import Huggingface
from tokenizing import ODD, TEXT, Pair, bytes_alphabet

NOWHERE = Path("a.gguf")
SAMPLE = ["".join(ODD[at : at + 9]) for at in range(len(ODD))] + Path(argparse.__file__).read_text().splitlines()[:300]


def vocabulary_of(folder: Path, pre: str) -> GGUFVocabulary:
    """The tokenizer.json of a folder, written down as the converters write it."""
    data = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    model, added = data["model"], {each["id"]: each for each in data["added_tokens"]}
    ids = {**model["vocab"], **{each["content"]: id for id, each in added.items()}}
    tokens = sorted(ids, key=ids.__getitem__)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    types = [3 if id in added and added[id]["special"] else 4 if id in added else 1 for id in range(len(tokens))]
    if not model.get("byte_fallback"):
        return GGUFVocabulary("gpt2", pre, tokens, [], types, merges)
    # a piece's score is the place of the first merge that makes it, with the sign that sentencepiece gives it
    rank = {piece: at for at, piece in reversed(list(enumerate(merge.replace(" ", "") for merge in merges)))}
    types = [6 if token.startswith("<0x") else 2 if token == "<unk>" else type for token, type in zip(tokens, types, strict=True)]
    scores = [-float(rank.get(token, len(rank))) for token in tokens]
    return GGUFVocabulary("llama", "default", tokens, scores, types, [], bos=1, eos=2, unk=0, add_bos=True)


@pytest.mark.parametrize(("name", "pre"), [("gpt2_pair", "gpt-2"), ("fable_pair", "llama-bpe")])
def test_byte_level_vocabularies(request, real_folder, fable, name, pre):
    pair: Pair = request.getfixturevalue(name)
    ours = load_tokenizer(NOWHERE, vocabulary_of(real_folder("gpt2") if name == "gpt2_pair" else fable, pre))
    assert isinstance(ours, ByteLevel)
    assert (ours.size, ours.special, ours.start_ids) == (pair.ours.size, pair.ours.special, ())
    assert ours.token_bytes == pair.ours.token_bytes
    if name == "gpt2_pair":
        assert [ours.encode(text) for text in SAMPLE] == [pair.ours.encode(text) for text in SAMPLE]


@pytest.mark.parametrize("name", ["stories260k", "phi-3"])
def test_sentencepiece_vocabularies(request, real_folder, name):
    """Phi-3's is Llama's with more added tokens; a </s> that is not special there swallows the space behind it, which GGUF cannot say."""
    pair: Pair = request.getfixturevalue(name.replace("-", "") + "_pair" if name == "phi-3" else "stories_pair")
    ours = load_tokenizer(NOWHERE, vocabulary_of(real_folder(name), ""))
    assert isinstance(ours, Huggingface)
    assert ours.size == pair.ours.size
    assert ours.start_ids == (1,)
    texts = [text for text in SAMPLE if "</s>" not in text]
    assert [ours.encode(text) for text in texts] == [pair.ours.encode(text) for text in texts]
    own = [id for id in range(ours.size) if pair.ours.token_bytes[id]]
    assert [ours.token_bytes[id] for id in own] == [pair.ours.token_bytes[id] for id in own]


@given(text=TEXT)
@settings(max_examples=50)
def test_any_text_of_a_sentencepiece_vocabulary(stories_pair, real_folder, text):
    ours = load_tokenizer(NOWHERE, vocabulary_of(real_folder("stories260k"), ""))
    assert ours.encode(text) == stories_pair.ours.encode(text)


@pytest.fixture(scope="module")
def small() -> GGUFVocabulary:
    """A byte-level vocabulary trained on this text, with a control and a user-defined token."""
    library = Library(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=bytes_alphabet(), show_progress=False)
    library.train_from_iterator(SAMPLE, trainer)
    model = json.loads(library.to_str())["model"]
    tokens = [*sorted(model["vocab"], key=model["vocab"].__getitem__), "<|end|>", "<x>"]
    types = [1] * (len(tokens) - 2) + [3, 4]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return GGUFVocabulary("gpt2", "gpt-2", tokens, [], types, merges, bos=len(tokens) - 2)


@pytest.mark.parametrize("pre", sorted(PRE))
def test_every_named_pre_tokenizer_takes_all_text(small, pre):
    ours = load_tokenizer(NOWHERE, replace(small, pre=pre))
    for text in ("Don't 12345 x\n\n  y\t<x> <|end|>", "é😀中"):
        ids = ours.encode(text)
        assert b"".join(ours.token_bytes[id] for id in ids).decode() == text
        assert small.tokens.index("<|end|>") not in ids
    assert (len(small.tokens) - 1 in ours.encode("<x>")) is True
    digits = [ours.token_bytes[id] for id in ours.encode("2024")]
    assert (digits == [b"2", b"0", b"2", b"4"]) or PRE[pre] in ("gpt2", "llama3", "o200k")


def test_start_tokens_are_what_the_metadata_says(small):
    assert load_tokenizer(NOWHERE, small).start_ids == ()
    assert load_tokenizer(NOWHERE, replace(small, pre="llama-bpe")).start_ids == (small.bos,)
    assert load_tokenizer(NOWHERE, replace(small, pre="llama-bpe", add_bos=False)).start_ids == ()
    assert load_tokenizer(NOWHERE, replace(small, add_bos=True)).start_ids == (small.bos,)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kind": "bert"}, "of the kind 'bert'; known are gpt2"),
        ({"pre": "nobody"}, "'nobody', which is not known here. Known are codeshell"),
        ({"merges": ["ab"]}, "its merge 'ab' is no pair"),
        ({"types": [9]}, "unknown type"),
        ({"bos": 10**9, "add_bos": True}, "its start token is outside"),
        ({"kind": "llama", "scores": [1.0]}, "1 scores"),
        ({"kind": "llama", "unk": 10**9}, "outside its vocabulary"),
        ({"tokens": ["a", "a"], "types": []}, "the same"),
    ],
)
def test_what_is_unknown_or_damaged_is_one_sentence(small, change, why):
    with pytest.raises(RunError, match=why):
        load_tokenizer(NOWHERE, replace(small, **change))
