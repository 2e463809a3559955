"""The vocabulary: every byte, special tokens first, ids in merge order, so that tiktoken cuts texts alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiktoken
from tokenizers import Tokenizer

from recipe import vocabulary
from recipe.corpus import ABILITIES

BYTES = {**{chr(b): b for b in (*range(33, 127), *range(161, 173), *range(174, 256))}}
BYTES |= {chr(256 + at): b for at, b in enumerate(b for b in range(256) if chr(b) not in BYTES)}
TEXTS = [
    "Once upon a time",
    "def add(a, b):\n    return a + b\n",
    "naïve \u2028 ☃ 𝄞\x00",
    "<|user|>\nHello\n<|assistant|>\nHi!\n",
    " \n\n  x 1234567",
]


@pytest.fixture(scope="module")
def tokenizer(data: Path) -> Tokenizer:
    return Tokenizer.from_file(str(data / "tokenizer.json"))


def test_special_tokens_come_first_and_every_byte_is_known(tokenizer: Tokenizer) -> None:
    assert [tokenizer.id_to_token(number) for number in range(3)] == vocabulary.SPECIAL
    assert {tokenizer.id_to_token(number) for number in range(3, 259)} == set(BYTES)
    for text in TEXTS:
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_tiktoken_cuts_alike(tokenizer: Tokenizer) -> None:
    ranks = {bytes(BYTES[c] for c in token): number for token, number in tokenizer.get_vocab().items() if number > 2}
    special = {token: number for number, token in enumerate(vocabulary.SPECIAL)}
    fast = tiktoken.Encoding("recipe", pat_str=vocabulary.PATTERN, mergeable_ranks=ranks, special_tokens=special)
    for text in [*TEXTS, Path(__file__).read_text(encoding="utf-8")]:
        assert fast.encode(text, allowed_special="all") == tokenizer.encode(text).ids


def test_gencli_runs_it_with_tiktoken(tokenizer: Tokenizer, opened, data: Path, tmp_path: Path) -> None:
    from gencli.loading import load
    from recipe.export import write

    opened("run").save()
    write(data, tmp_path / "run", tmp_path / "checkpoint")
    session = load(str(tmp_path / "checkpoint"))
    assert type(session.tokenizer).__module__ == "gencli.tokenizers.byte_level"
    assert list(session.tokenizer.encode(TEXTS[1])) == tokenizer.encode(TEXTS[1]).ids


def test_documents_end_with_the_end_token(tokenizer: Tokenizer, data: Path) -> None:
    for ability in ABILITIES:
        with np.load(data / f"{ability}.npz") as stored:
            tokens, starts = stored["tokens"], stored["starts"]
        assert starts[-1] == len(tokens)
        assert (tokens[starts[1:] - 1] == 0).all()
        assert (tokens == 0).sum() == len(starts) - 1


def test_every_second_functions_first_line_may_end_a_prompt(tokenizer: Tokenizer) -> None:
    text = "def f(a, b):\n    return a\n"
    parted, whole = vocabulary.encode(tokenizer, [text, text], parted=True)
    assert parted[: len(tokenizer.encode("def f(a, b):").ids)] == tokenizer.encode("def f(a, b):").ids
    assert whole == [*tokenizer.encode(text).ids, 0]
    assert tokenizer.decode(parted[:-1]) == text
