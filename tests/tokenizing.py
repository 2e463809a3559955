"""Text that tokenizers disagree on, small tokenizer.json files, and ours beside its oracle. For the tests of tokenizers."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from tokenizers import Regex, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Library

from gencli.detokeniser import decode
from gencli.tokenizers import Tokenizer, load_tokenizer
from gencli.tokenizers._decoding import BYTES
from gencli.vocabulary import Vocabulary

# What patterns and normalisers treat apart: contractions, long s, Kelvin sign, digits of all kinds, white space of
# all kinds, marks, jamo, ligatures, emoji with joiners, private use, unassigned, tag-like text.
ODD = [
    *"aAzZ0159'’.,!?-_()<|>/ \t\n\r\f\v\0\x1c\x85\xa0\xad",
    *("'s", "'S", "'ll", "'RE", "'ſ", "K", "ß", "İ", "ı", "ŉ", "ǅ", "½", "²", "٣", "Ⅷ", "〇", "中", "あ", "ー", "가", "각", "a"),
    *("é", "é", "ñ", "̸", "҈", "़", "क्ष", "ﬁ", "ﷺ", "\u2028", "\u3000", "\u200b", "\u200d", "\ufeff", "\ufffd", "\ue000", "\u0378"),
    *("😀", "👩‍👩‍👧", "🇫🇷", "\U000e0001", "\U0010ffff", "𝟘", "𐐀", "\r\n", "  ", "    ", "\n\n", " \n ", "...", "the", " the", "'"),
    *("<|endoftext|>", "<|user|>", "<|", "|>", "</s>", "<s>", "▁", "<0x41>"),
]
TEXT = st.lists(
    st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=["Cs"]), st.text("ab 'stT1\n", max_size=6)), max_size=30
).map("".join)


ASSIGNED = [*range(0xD800), *range(0xE000, 0x11000)]


def drawn_strings(count: int, extra: Iterable[str] = ()) -> list[str]:
    """Odd pieces put together, cuts of real text, runs of one character, any characters; `extra` pieces among the odd ones."""
    chance, text, odd = random.Random(count), Path(argparse.__file__).read_text(), [*ODD, *extra]
    strings = []
    for at in range(count // 4):
        strings.append("".join(chance.choice(odd) for _ in range(chance.randrange(25))))
        strings.append(text[(at * 37) % (len(text) - 200) :][: chance.randrange(150)])
        strings.append("".join(chance.choice(odd) * chance.randrange(1, 9) for _ in range(4)))
        strings.append("".join(chr(chance.choice(ASSIGNED)) for _ in range(chance.randrange(12))))
    return strings


def trained_merges(lines: Iterable[str], pattern: str, count: int) -> list[tuple[str, str]]:
    """Merges of a byte-level vocabulary that the `tokenizers` library trains on some text, cut by `pattern`."""
    library = Library(models.BPE())
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    library.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    library.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=256 + count, initial_alphabet=alphabet, show_progress=False))
    merges = json.loads(library.to_str())["model"]["merges"]
    return [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in merges]


def bytes_alphabet() -> list[str]:
    """The characters that stand for the bytes 0 .. 255."""
    return [chr(character) for character, _ in sorted(BYTES.items(), key=lambda pair: pair[1])]


def byte_level_json(
    merges: list[tuple[str, str]], *, pattern: str | None = None, vocab: dict[str, int] | None = None, **more: Any
) -> dict[str, Any]:
    """A byte-level tokenizer.json: all bytes, then the merges' results in order."""
    if vocab is None:
        tokens = [*bytes_alphabet(), *(left + right for left, right in merges)]
        vocab = {token: id for id, token in enumerate(dict.fromkeys(tokens))}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": pattern is None}
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "fuse_unk": False,
        "vocab": vocab,
        "merges": [list(merge) for merge in merges],
    }
    return {
        "version": "1.0",
        "added_tokens": more.pop("added_tokens", []),
        "normalizer": more.pop("normalizer", None),
        "pre_tokenizer": byte_level if pattern is None else {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": more.pop("post_processor", None),
        "decoder": more.pop("decoder", {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}),
        "model": model | more,
    }


def vocabulary_of(tokenizer: Tokenizer) -> Vocabulary:
    """What the rest of the program sees of a tokenizer."""
    return Vocabulary(
        size=tokenizer.size,
        token_bytes=tokenizer.token_bytes,
        end_ids=frozenset(),
        special_ids=frozenset(tokenizer.special.values()),
        encode=tokenizer.encode,
        strips_start=tokenizer.strips_start,
    )


class Pair:
    """Ours and the oracle, from one folder."""

    def __init__(self, folder: Path) -> None:
        self.ours = load_tokenizer(folder)
        self.oracle = Library.from_file(str(folder / "tokenizer.json"))
        self.oracle.no_truncation()
        self.oracle.no_padding()

    def ordinary(self, text: str) -> list[int]:
        """The oracle's ids where special-token text stays text."""
        self.oracle.encode_special_tokens = True
        return self.oracle.encode(text, add_special_tokens=False).ids

    def with_special(self, text: str) -> list[int]:
        """The oracle's ids where special-token text becomes special tokens."""
        self.oracle.encode_special_tokens = False
        return self.oracle.encode(text, add_special_tokens=False).ids

    def decoded(self, ids: list[int], special: bool = False) -> str:
        """Our text of these ids, from the very start."""
        return decode(vocabulary_of(self.ours), ids, special=special, at_start=True)


def cost_of_loading(folder: Path) -> tuple[str, float, float]:
    """In a process of its own: the sentence of a refusal, or "taken"; the seconds of computing; the most memory it had, in kB."""
    code = (
        "import pathlib, re, time; from gencli.errors import RunError; from gencli.tokenizers import load_tokenizer\n"
        "start = time.process_time()\n"
        f"try: load_tokenizer(pathlib.Path({str(folder)!r}))\n"
        "except RunError as error: print(error)\n"
        "else: print('taken')\n"
        "print(time.process_time() - start, re.search('VmHWM:(.*)kB', pathlib.Path('/proc/self/status').read_text())[1])"
    )
    told, figures = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip().split("\n")
    seconds, kilobytes = map(float, figures.split())
    return told, seconds, kilobytes
