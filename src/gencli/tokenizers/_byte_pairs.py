"""vocab.json and merges.txt, as GPT-2's tokenizer was published -> the tokenizer.json that says the same. Knows no library.

Which tokens stand beside the vocabulary, and how text is cut, follows from tokenizer_config.json, special_tokens_map.json,
added_tokens.json and config.json in the same folder, as transformers takes it from there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from gencli.errors import RunError, shown
from gencli.formats import read_json
from gencli.tokenizers._patterns import PATTERNS
from gencli.tokenizers._source import Source, damaged, json_object, source_from

MERGES, CONFIG, SPECIAL, ADDED = "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
# the largest published files of this kind have some 250,000 of each, and fewer than 30,000 tokens beside
MOST_MERGES, MOST_WORDS, MOST_ADDED = 300_000, {b"{": 20_000, b"[": 20_000, b",": 300_000}, 50_000
NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
LISTS = ("extra_special_tokens", "additional_special_tokens")
ID = re.compile(r"[0-9]{1,9}")
FLAGS = ("single_word", "lstrip", "rstrip", "normalized")
END = "<|endoftext|>"
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


@dataclass(frozen=True)
class _Kind:
    """What a class of transformers' adds to the files: a pattern, NFC or not, and who "<|endoftext|>" is where no file names another."""

    pattern: str
    nfc: bool
    ends: tuple[str, ...] = ("bos_token", "eos_token", "unk_token")


_KINDS = {
    "GPT2Tokenizer": _Kind("gpt2", nfc=False),
    "CodeGenTokenizer": _Kind("gpt2", nfc=False),
    "GPTNeoXTokenizer": _Kind("gpt2", nfc=True),
    "Qwen2Tokenizer": _Kind("qwen2", nfc=True, ends=("eos_token", "unk_token", "pad_token")),
}
# by config.json's model_type, where no tokenizer_class is stated; all others are cut as GPT-2 cuts
_FAMILIES = {"gpt_neox": "GPTNeoXTokenizer", **dict.fromkeys(("qwen2", "qwen2_moe", "qwen3", "qwen3_moe"), "Qwen2Tokenizer")}
_WRITTEN_ANEW = ("PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend")  # say nothing of how text is cut


def source_of(path: Path, merges: bytes) -> Source:
    """The tokenizer of a vocab.json at `path`, with the content of the merges.txt beside it.

    Raises `RunError` where a file is damaged, or where it takes a class of tokenizer that is not known here.
    """
    config, vocab = _file(path.with_name(CONFIG)), json_object(path, MOST_WORDS)[1]
    kind = _kind(path, config)
    # older folders name their tokens in a file of its own, which then counts before the other
    settings = config if "added_tokens_decoder" in config else {**config, **_file(path.with_name(SPECIAL))}
    special = _special(path, kind, settings, vocab)
    added = _numbered(path, vocab, _with_ids(path, config, special), special)
    pairs = list(_pairs(path.with_name(MERGES), merges))
    start = _content(settings.get("bos_token", END if "bos_token" in kind.ends else None))
    data = _tokenizer_json(kind, vocab, pairs, added, prefix=config.get("add_prefix_space") is True)
    return source_from(path, data, bos=start if config.get("add_bos_token") is True else None)


def gpt2(path: Path, vocab: bytes, merges: bytes) -> Source:
    """GPT-2's own tokenizer, of the contents of these two files; no file beside `path` is looked at."""
    words, kind = json.loads(vocab), _KINDS["GPT2Tokenizer"]
    added = _numbered(path, words, [], _special(path, kind, {}, words))
    return source_from(path, _tokenizer_json(kind, words, list(_pairs(path, merges)), added))


def _tokenizer_json(
    kind: _Kind, vocab: Mapping[str, Any], merges: list[tuple[str, str]], added: list[dict[str, Any]], prefix: bool = False
) -> dict[str, Any]:
    return {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "NFC"} if kind.nfc else None,
        "pre_tokenizer": _pre_tokenizer(kind.pattern, prefix),
        "decoder": BYTE_LEVEL,
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    }


def _kind(path: Path, config: Mapping[str, Any]) -> _Kind:
    stated = config.get("tokenizer_class")
    if stated is None or stated in _WRITTEN_ANEW:
        stated = _FAMILIES.get(str(_file(path.with_name("config.json")).get("model_type")), "GPT2Tokenizer")
    name = str(stated).removesuffix("Fast")
    if name not in _KINDS:
        raise RunError(
            f"{path}: its tokenizer is a {shown(name)}, and without a tokenizer.json only these are read: {', '.join(_KINDS)}. "
            "transformers writes a tokenizer.json: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)."
        )
    return _KINDS[name]


def _special(path: Path, kind: _Kind, settings: Mapping[str, Any], vocab: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The special tokens that settings name, by their text: those with a name of transformers' first, then others, then the lists."""
    named = {name: settings.get(name, END if name in kind.ends and END in vocab else None) for name in NAMES}
    named |= {name: value for name, value in settings.items() if name.endswith("_token") and name not in named}
    values = [value for value in named.values() if value is not None and not isinstance(value, bool)]  # add_bos_token is one too
    for name in LISTS:
        stated = settings.get(name) or []
        values += stated.values() if isinstance(stated, dict) else stated if isinstance(stated, list) else [stated]
    if len(values) > MOST_ADDED:
        raise damaged(path.with_name(CONFIG), f"it names {len(values):,} special tokens; at most {MOST_ADDED:,} are read")
    found: dict[str, dict[str, Any]] = {}
    seen = set()
    for value in values:
        if (content := _content(value)) is None:
            raise damaged(path.with_name(CONFIG), f"{shown(value)} is no special token")
        form = content, type(value), *_flags(value).values()
        if form not in seen:  # of a token that is named in several forms, the last new one counts
            found[content] = {**_flags(value), "content": content, "special": True}
        seen.add(form)
    return found


def _with_ids(path: Path, config: Mapping[str, Any], special: Collection[str]) -> list[dict[str, Any]]:
    """The tokens beside the vocabulary that a file gives an id, by id."""
    if (decoder := config.get("added_tokens_decoder")) is not None:
        entries: Iterable[tuple[str, Any]] = decoder.items() if isinstance(decoder, dict) else [("", None)]
        if not all(ID.fullmatch(id) and isinstance(value, dict) and _content(value) for id, value in entries):
            raise damaged(path.with_name(CONFIG), "its added_tokens_decoder does not describe tokens by their ids")
        found = [{**value, "id": int(id), "special": value.get("special") is True or value["content"] in special} for id, value in entries]
    else:
        listed = _file(path.with_name(ADDED))
        if not all(type(id) is int for id in listed.values()):
            raise damaged(path.with_name(ADDED), "a token's id is not a whole number")
        found = [{"content": text, "id": id, "special": text in special, "normalized": text not in special} for text, id in listed.items()]
    if len(found) > MOST_ADDED:
        raise damaged(path.with_name(CONFIG), f"{len(found):,} tokens are added to it; at most {MOST_ADDED:,} are read")
    return sorted(found, key=lambda each: each["id"])


def _numbered(
    path: Path, vocab: Mapping[str, Any], stated: Sequence[dict[str, Any]], special: Mapping[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """All tokens beside the words of the vocabulary; those without an id of their own get the next ones."""
    if not all(type(id) is int for id in vocab.values()):
        raise damaged(path, "a token's id is not a whole number")
    known = {each["content"] for each in stated}
    following = count(1 + max((*vocab.values(), *(each["id"] for each in stated)), default=-1))
    rest = [each for content, each in special.items() if content not in known]
    given = [{**each, "id": vocab[each["content"]] if each["content"] in vocab else next(following)} for each in rest]
    return [{**_flags(each), **{key: each[key] for key in ("id", "content", "special")}} for each in (*stated, *given)]


def _content(value: Any) -> str | None:
    """The text of a token that is given as a text or as an object."""
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else None


def _flags(value: Any) -> dict[str, bool]:
    return {flag: isinstance(value, dict) and value.get(flag) is True for flag in FLAGS}


def _pre_tokenizer(pattern: str, prefix: bool) -> dict[str, Any]:
    if pattern == "gpt2":
        return {**BYTE_LEVEL, "add_prefix_space": prefix}
    cut = {"type": "Split", "pattern": {"Regex": PATTERNS[pattern]}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [cut, {**BYTE_LEVEL, "add_prefix_space": prefix, "use_regex": False}]}


def _pairs(path: Path, content: bytes) -> Iterator[tuple[str, str]]:
    """The merges: a pair of tokens a line, but for the line that tells the version."""
    try:
        lines = content.decode("utf-8").split("\n", MOST_MERGES + 1)
    except UnicodeDecodeError as error:
        raise damaged(path, f"it is not UTF-8 at byte {error.start}") from error
    if len(lines) > MOST_MERGES:
        raise damaged(path, f"it has more than {MOST_MERGES:,} lines")
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        if not line or line.startswith("#version"):
            continue
        left, space, right = line.partition(" ")
        if not (left and space and right) or " " in right:
            raise damaged(path, f"line {number} is no pair of tokens")
        yield left, right


def _file(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
