"""The vocabulary in a GGUF file's metadata -> a tokenizer.json, or pieces. Knows no file and no library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gencli.errors import RunError, shown
from gencli.formats import GGUFVocabulary
from gencli.tokenizers._patterns import PATTERNS
from gencli.tokenizers._pieces import Pieces, Type
from gencli.tokenizers._source import Source, damaged, source_from

_DIGITS = "digits"  # each digit alone, then GPT-2's pattern
# the pre-tokenizer's name in the metadata -> how it cuts; of files older than these names, GPT-2's is the best guess
PRE = {
    **dict.fromkeys(("", "default", "gpt-2", "phi-2", "mpt", "olmo", "jais", "roberta-bpe"), "gpt2"),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "falcon3", "dbrx", "smaug-bpe"), "llama3"),
    **dict.fromkeys(("qwen2", "stablelm2", "deepseek-r1-qwen", "megrez"), "qwen2"),
    **dict.fromkeys(("gpt-4o", "llama4"), "o200k"),
    "tekken": "tekken",
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell"), _DIGITS),
}
_WHOLE_WORDS = {"llama3", "tekken"}  # a word that is a token is taken as it is, whatever the merges say
_NFC = {"qwen2", "deepseek-r1-qwen"}
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}


def source_of(path: Path, vocabulary: GGUFVocabulary) -> Source | Pieces:
    """A vocabulary in a form that a kind of tokenizer here takes.

    Raises `RunError` where it is damaged, or merges or cuts in a way that is not known here.
    """
    if vocabulary.kind == "llama":
        return _pieces(path, vocabulary).source()
    if vocabulary.kind != "gpt2":
        raise RunError(f"{path}: its tokenizer is of the kind {shown(vocabulary.kind)}; known are gpt2 (byte-level) and llama.")
    return _byte_level(path, vocabulary)


def _pieces(path: Path, vocabulary: GGUFVocabulary) -> Pieces:
    tokens = vocabulary.tokens
    bos = vocabulary.bos if vocabulary.add_bos is not False else None
    return Pieces(
        path,
        tokens,
        vocabulary.scores or [0.0] * len(tokens),
        _types(path, vocabulary),
        unknown=vocabulary.unk,
        start_ids=() if bos is None else (bos,),
        prefix=vocabulary.add_space_prefix,
    )


def _types(path: Path, vocabulary: GGUFVocabulary) -> list[int]:
    types = vocabulary.types or [int(Type.NORMAL)] * len(vocabulary.tokens)
    if not set(types) <= {0, *Type}:
        raise damaged(path, "a token is of an unknown type")
    return types


def _byte_level(path: Path, vocabulary: GGUFVocabulary) -> Source:
    if vocabulary.pre not in PRE:
        raise RunError(
            f"{path}: how its tokenizer cuts words is named {shown(vocabulary.pre)}, which is not known here. "
            f"Known are {', '.join(sorted(filter(None, PRE)))}."
        )
    cut, tokens, types = PRE[vocabulary.pre], vocabulary.tokens, _types(path, vocabulary)
    ids = {token: id for id, token in enumerate(tokens)}
    if len(ids) != len(tokens):
        raise damaged(path, "two of its tokens are the same")
    special = {Type.CONTROL: True, Type.UNKNOWN: True, Type.USER_DEFINED: False}
    added = [
        {"id": id, "content": tokens[id], "special": special[Type(type)], "normalized": False}
        for id, type in enumerate(types)
        if type in special and tokens[id]
    ]
    data = {
        "version": "1.0",
        "added_tokens": [{"single_word": False, "lstrip": False, "rstrip": False, **each} for each in added],
        "normalizer": {"type": "NFC"} if vocabulary.pre in _NFC else None,
        "pre_tokenizer": _pre_tokenizer(cut),
        "decoder": {**_BYTE_LEVEL, "use_regex": True},
        "model": {"type": "BPE", "vocab": ids, "merges": _merges(path, vocabulary), "ignore_merges": cut in _WHOLE_WORDS},
    }
    starts = cut == "llama3" if vocabulary.add_bos is None else vocabulary.add_bos
    if vocabulary.bos is not None and not 0 <= vocabulary.bos < len(tokens):
        raise damaged(path, "its start token is outside the vocabulary")
    return source_from(path, data, start_ids=(vocabulary.bos,) if starts and vocabulary.bos is not None else ())


def _merges(path: Path, vocabulary: GGUFVocabulary) -> list[tuple[str, str]]:
    """The pairs; a space within a pair is the one that parts them."""
    merges = []
    for merge in vocabulary.merges:
        left, space, right = merge.partition(" ")
        if not (left and space and right):
            raise damaged(path, f"its merge {shown(merge)} is no pair of tokens")
        merges.append((left, right))
    return merges


def _pre_tokenizer(cut: str) -> dict[str, Any]:
    if cut == "gpt2":
        return {**_BYTE_LEVEL, "use_regex": True}
    if cut == _DIGITS:
        first: dict[str, Any] = {"type": "Digits", "individual_digits": True}
    else:
        first = {"type": "Split", "pattern": {"Regex": PATTERNS[cut]}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [first, {**_BYTE_LEVEL, "use_regex": cut == _DIGITS}]}
