"""nanoGPT's alphabet, as its prepare.py pickles it."""

from __future__ import annotations

import os
import pickle

import pytest

from gencli.detokeniser import decode
from gencli.errors import RunError
from gencli.tokenizers import load_tokenizer
from gencli.tokenizers.characters import Characters
from tokenizing import vocabulary_of

ALPHABET = "\n !'abcdeé😀"


def meta(characters: str) -> dict[str, object]:
    return {"vocab_size": len(characters), "itos": dict(enumerate(characters)), "stoi": {c: id for id, c in enumerate(characters)}}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_character_is_a_token(tmp_path, protocol):
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(meta(ALPHABET), protocol))
    ours = load_tokenizer(tmp_path)
    assert isinstance(ours, Characters)
    assert ours.encode("bad 😀é\n") == [ALPHABET.index(character) for character in "bad 😀é\n"]
    assert decode(vocabulary_of(ours), ours.encode("bad 😀é\n")) == "bad 😀é\n"
    assert (ours.size, ours.start_ids, list(ours.find_special("abc", 0, 3))) == (len(ALPHABET), (), [])


def test_a_character_that_the_model_never_saw_is_named(tmp_path):
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(meta(ALPHABET)))
    with pytest.raises(RunError, match=r"no token for 'x'; this model knows 11 characters"):
        load_tokenizer(tmp_path).encode("ax")


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch /tmp/gencli-was-here",)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (pickle.dumps(Bomb()), r"asks for '(posix|nt)\.system', which could run code"),
        (pickle.dumps({"itos": Bomb()}), "which could run code"),
        (b"", "is damaged: "),
        (b"\x80\x04" + b"]" * 1000, "is damaged: "),
        (b"x" * (1 << 20) + b"x", "larger than 1 MB"),
        (pickle.dumps([1]), "it is not nanoGPT's"),
        (pickle.dumps({"itos": {1: "a"}}), "it is not nanoGPT's"),
        (pickle.dumps({"itos": {0: "ab"}}), "not single characters"),
        (pickle.dumps({"itos": {}}), "it is not nanoGPT's"),
        (pickle.dumps({"itos": {0: "a", 1: "a"}}), "two ids"),
    ],
)
def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path, data, why):
    (tmp_path / "meta.pkl").write_bytes(data)
    with pytest.raises(RunError, match=why):
        load_tokenizer(tmp_path)
    assert not os.path.exists("/tmp/gencli-was-here")
