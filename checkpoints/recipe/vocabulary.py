"""Text -> a byte-level BPE vocabulary -> tokens on disk. Knows no network.

Ids stand in merge order after three special tokens, which is what lets tiktoken run it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from recipe.corpus import ABILITIES, ASSISTANT, END, USER, Document

SPECIAL = [END, USER, ASSISTANT]
# words with the space or mark before them, numbers of up to three digits, marks with the line ends after them, spaces
PATTERN = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
PROSE_SHARE = 4  # one in so many paragraphs of prose is shown to the trainer, or its words would fill the vocabulary


def learn(documents: Iterable[Document], size: int) -> Tokenizer:
    """A vocabulary of `size` tokens from the documents that are trained on."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PATTERN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIAL, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(_shown(documents), trainer)
    return tokenizer


def of(checkpoint: Path) -> Tokenizer:
    """The vocabulary of a checkpoint that the recipe made."""
    return Tokenizer.from_file(str(checkpoint / "tokenizer.json"))


def _shown(documents: Iterable[Document]) -> Iterable[str]:
    for each in documents:
        if each.held or each.ability == "functions":  # their modules are shown
            continue
        paragraphs = each.text.split("\n\n")
        text = "\n\n".join(paragraphs[:: PROSE_SHARE if each.ability == "prose" else 1])
        yield text.replace(USER, "").replace(ASSISTANT, "")


def write(folder: Path, tokenizer: Tokenizer, documents: Sequence[Document]) -> dict[str, dict[str, int]]:
    """The tokenizer, each ability's tokens with where its documents start, the held-out texts, and what was counted."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    counts = {}
    for ability in ABILITIES:
        trained = [each.text for each in documents if each.ability == ability and not each.held]
        held = [{"name": each.name, "text": each.text} for each in documents if each.ability == ability and each.held]
        encoded = encode(tokenizer, trained, ability == "functions")
        starts = np.cumsum([0, *map(len, encoded)])
        np.savez(folder / f"{ability}.npz", tokens=np.array([one for each in encoded for one in each], dtype=np.uint16), starts=starts)
        (folder / f"{ability}.held.jsonl").write_text("".join(json.dumps(each) + "\n" for each in held), encoding="utf-8")
        counts[ability] = {
            "documents": len(trained),
            "tokens": int(starts[-1]),
            "bytes": sum(len(each.encode()) for each in trained),
            "held_documents": len(held),
            "held_bytes": sum(len(each["text"].encode()) for each in held),
        }
    (folder / "counts.json").write_text(json.dumps(counts, indent=2) + "\n")
    return counts


def encode(tokenizer: Tokenizer, texts: Sequence[str], parted: bool = False) -> list[list[int]]:
    """The ids of each text and the end token.

    `parted`: every second text's first line is encoded without the end of the line, as a prompt may end there; else
    "):" before a line's end would be a token that training never saw.
    """
    whole = [[*each.ids, 0] for each in tokenizer.encode_batch_fast(texts)]
    if parted:
        for at in range(0, len(texts), 2):
            first, rest = texts[at].split("\n", 1)
            whole[at] = [*tokenizer.encode(first).ids, *tokenizer.encode("\n" + rest).ids, 0]
    return whole


def fingerprint(folder: Path) -> str:
    """A digest of the tokens that are trained on: a run continues on no others."""
    digest = hashlib.sha256()
    for ability in ABILITIES:
        with np.load(folder / f"{ability}.npz") as stored:
            digest.update(stored["tokens"].tobytes())
    return digest.hexdigest()[:16]
