"""A checkpoint's tokenizer as the vocabulary of a GGUF file, or as the files of a folder. Knows no weights and writes nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gencli.errors import RunError, UsageError, shown
from gencli.formats import Checkpoint, GGUFVocabulary, read_json, size_of
from gencli.tokenizers import Source
from gencli.tokenizers import read as read_tokenizer
from gencli.tokenizers._patterns import PATTERNS

SPACE = "▁"  # U+2581, what stands for a space in SentencePiece's tokens
LARGEST_FILE = 1 << 27  # bytes
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
# the files of a folder that make up its tokenizer
FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "tokenizer.model", "vocab.json", "merges.txt", "tokenizer.bin", "meta.pkl",
)  # fmt: skip
OWN = ("tokenizer.json", "vocab.json", "tokenizer.model", "tokenizer.bin", "meta.pkl")
BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
# pattern's name here -> llama.cpp's pre-tokenizer, where a whole word that is a token needs no merges, and where it does
PRE = {
    "gpt2": ("", "gpt-2"),
    "llama3": ("llama-bpe", "dbrx"),
    "fable": ("llama-bpe", "dbrx"),
    "qwen2": ("", "qwen2"),
    "o200k": ("", "gpt-4o"),
    "tekken": ("tekken", ""),
}


def vocabulary_of(checkpoint: Checkpoint) -> GGUFVocabulary:
    """The vocabulary of a checkpoint, with an entry for each of the model's logits.

    Raises `UsageError` for a kind of tokenizer that GGUF files are not written with, `RunError` for one that is damaged.
    """
    if checkpoint.vocabulary is not None:
        return checkpoint.vocabulary
    source = read_tokenizer(checkpoint.tokenizer_files, published=checkpoint.published_tokenizer)
    if not isinstance(source, Source):
        raise UsageError(f"the tokenizer of {checkpoint.path} is of a kind that GGUF files are not written with; written is BPE.")
    size = int(checkpoint.config["vocab_size"])
    if source.size > size:
        raise RunError(f"the tokenizer of {checkpoint.path} has {source.size} tokens, its model {size}.")
    if source.model.get("type", "BPE") != "BPE":
        raise UsageError(f"GGUF files are not written with a tokenizer of the type {shown(source.model.get('type'))}, only with BPE.")
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in source.model.get("merges", [])]
    settings = _settings(checkpoint.tokenizer_files)
    common = {
        "tokens": _tokens(source, size),
        "types": _types(source, size),
        **_ids(source, checkpoint, settings),
        "chat_template": _template(checkpoint.tokenizer_files, settings),
    }
    if source.model.get("byte_fallback"):
        scores = _scores(source, size, merges)
        return GGUFVocabulary(kind="llama", pre="default", scores=scores, merges=[], add_space_prefix=_puts_space(source), **common)
    if not _by_bytes(source):
        raise UsageError(
            f"the tokenizer of {checkpoint.path} is neither byte-level nor SentencePiece's; GGUF files are written with these."
        )
    return GGUFVocabulary(kind="gpt2", pre=_pre(source), scores=[], merges=merges, add_space_prefix=False, **common)


def tokenizer_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    """The files that a folder needs for this checkpoint's tokenizer, by name.

    Raises `RunError` for one that is damaged, `UsageError` for a kind that folders are not written with.
    """
    folder = checkpoint.tokenizer_files
    if checkpoint.vocabulary is None:
        files = [folder / name for name in FILES] + sorted(folder.glob("*.tiktoken"))
        found = {file.name: file.read_bytes() for file in files if file.is_file() and size_of(file) <= LARGEST_FILE}
        if checkpoint.published_tokenizer is not None and found.keys().isdisjoint(OWN):
            published = read_tokenizer(folder, published=checkpoint.published_tokenizer)
            if isinstance(published, Source):
                [end, *_] = published.special
                named = {"tokenizer_class": "GPT2Tokenizer", **dict.fromkeys(("bos_token", "eos_token", "unk_token"), end)}
                found = {"tokenizer_config.json": json.dumps(named).encode(), **found, "tokenizer.json": published.text.encode()}
        return found
    vocabulary = checkpoint.vocabulary
    source = read_tokenizer(folder, vocabulary)
    if not isinstance(source, Source):
        raise UsageError(f"the tokenizer of {checkpoint.path} is of a kind that folders are not written with; written is BPE.")
    data = json.loads(source.text)
    if vocabulary.kind == "llama":  # what is done to a text before merging
        before = [{"type": "Prepend", "prepend": SPACE}] if vocabulary.add_space_prefix else []
        data["normalizer"] = {
            "type": "Sequence",
            "normalizers": [*before, {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}],
        }
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": bool(vocabulary.add_bos)}
    for name, id in (("bos_token", vocabulary.bos), ("eos_token", vocabulary.eos), ("unk_token", vocabulary.unk)):
        settings |= {name: vocabulary.tokens[id]} if id is not None else {}
    settings |= {"chat_template": vocabulary.chat_template} if vocabulary.chat_template else {}
    return {
        name: json.dumps(value, ensure_ascii=False).encode()
        for name, value in (("tokenizer.json", data), ("tokenizer_config.json", settings))
    }


def _settings(folder: Path) -> Mapping[str, Any]:
    file = folder / "tokenizer_config.json"
    return read_json(file) if file.is_file() else {}


def _template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text("utf-8")
    stated = settings.get("chat_template")
    return stated if isinstance(stated, str) else None


def _tokens(source: Source, size: int) -> list[str]:
    """The text of every id; those without a token get a name that none has."""
    tokens = [f"[PAD{id}]" for id in range(size)]
    for text, id in source.vocab.items():
        tokens[id] = text
    for token in source.added:
        tokens[token.id] = token.content
    return tokens


def _types(source: Source, size: int) -> list[int]:
    types = [UNUSED] * size
    for text, id in source.vocab.items():
        types[id] = BYTE if source.model.get("byte_fallback") and BYTE_PIECE.fullmatch(text) else NORMAL
    for token in source.added:
        types[token.id] = CONTROL if token.special else USER_DEFINED
    unknown = source.vocab.get(source.model.get("unk_token") or "")
    if unknown is not None:
        types[unknown] = UNKNOWN
    return types


def _ids(source: Source, checkpoint: Checkpoint, settings: Mapping[str, Any]) -> dict[str, Any]:
    def named(kind: str) -> int | None:
        """The id of a token that settings name, by number or by text."""
        for values in (checkpoint.generation_config, checkpoint.config):
            stated = values.get(f"{kind}_token_id")
            stated = stated[0] if isinstance(stated, list) and stated else stated
            if type(stated) is int:
                return stated
        token = settings.get(f"{kind}_token")
        text = token.get("content") if isinstance(token, Mapping) else token
        return source.special.get(text) if isinstance(text, str) else None

    bos = source.start_ids[0] if source.start_ids else named("bos")
    unknown = source.vocab.get(source.model.get("unk_token") or "")
    return {"bos": bos, "eos": named("eos"), "unk": unknown, "add_bos": bool(source.start_ids)}


def _scores(source: Source, size: int, merges: Sequence[str]) -> list[float]:
    """What orders SentencePiece's merges: the earlier a merge, the higher the score of what it makes."""
    scores = [0.0] * size
    places: dict[str, int] = {}
    for place, merge in enumerate(merges):
        places.setdefault(merge.replace(" ", ""), place)
    for text, id in source.vocab.items():
        scores[id] = -float(places.get(text, len(merges) + id))
    return scores


def _puts_space(source: Source) -> bool:
    """Whether a space is put before the first word."""
    parts = repr((source.normalizer, source.pre_tokenizer, source.decoder))  # a decoder that strips one knows of it too
    return "'Prepend'" in parts or "'Strip'" in parts or bool(re.search(r"'prepend_scheme': '(first|always)'", parts))


def _by_bytes(source: Source) -> bool:
    return isinstance(source.decoder, Mapping) and source.decoder.get("type") == "ByteLevel"


def _pre(source: Source) -> str:
    """llama.cpp's name for how a text is cut before merging. Raises `UsageError` where it has none."""
    match source.pre_tokenizer:
        case {"type": "ByteLevel"}:
            name = "gpt2"
        case {"type": "Sequence", "pretokenizers": [{"pattern": {"Regex": regex}}, *_]}:
            name = next((name for name, pattern in PATTERNS.items() if pattern == regex), "")
        case _:
            name = ""
    whole, merged = PRE.get(name, ("", ""))
    found = whole if source.model.get("ignore_merges") and whole else merged or whole
    if not found:
        raise UsageError("llama.cpp has no name for how this tokenizer cuts a text before merging, so no GGUF file is written.")
    return found
