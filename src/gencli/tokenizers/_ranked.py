"""A .tiktoken file: lines of base64 and rank, and what is known about those that have a name. Knows no library.

Such a file says nothing of how a text is cut before merging, nor of special tokens. Both come from the
name: of the file, or what tokenizer_config.json beside it names as `encoding_name` or `tokenizer_class`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gencli.errors import RunError
from gencli.tokenizers._added import AddedToken
from gencli.tokenizers._patterns import CL100K, GPT2, IN_UTF8, PATTERNS
from gencli.tokenizers._source import MAX_ID, added_tokens, damaged

_LLAMA3 = {0: "begin_of_text", 1: "end_of_text", 4: "finetune_right_pad_id", 5: "step_id", 6: "start_header_id",
           7: "end_header_id", 8: "eom_id", 9: "eot_id", 10: "python_tag"}  # fmt: skip
_LLAMA3_RANKS, _RESERVED = 128_000, 256


@dataclass(frozen=True)
class Ranked:
    """Token bytes -> rank, which is the id, and how text becomes such bytes. All ids are below `size`."""

    path: Path
    ranks: dict[bytes, int]
    pattern: str
    added: tuple[AddedToken, ...]
    start_ids: tuple[int, ...] = ()
    nfc: bool = False

    @property
    def size(self) -> int:
        return 1 + max(max(self.ranks.values()), max((token.id for token in self.added), default=0))


@dataclass(frozen=True)
class _Encoding:
    pattern: str
    special: Mapping[str, int]
    start: str | None = None
    nfc: bool = False


def _special(*names: str, first: int) -> dict[str, int]:
    return {f"<|{name}|>": first + at for at, name in enumerate(names)}


def _llama3() -> dict[str, int]:
    """The 256 special tokens behind the ranks; those of version 3 that have no name in 3.1 are numbered as in 3.1."""
    unnamed = iter(range(_RESERVED))
    names = [_LLAMA3.get(at) or f"reserved_special_token_{next(unnamed)}" for at in range(_RESERVED)]
    return _special(*names, first=_LLAMA3_RANKS)


# by tiktoken's own names, and those of two families that publish such files
ENCODINGS = {
    "r50k_base": _Encoding(GPT2, _special("endoftext", first=50_256)),
    "p50k_base": _Encoding(GPT2, _special("endoftext", first=50_256)),
    "cl100k_base": _Encoding(
        CL100K,
        _special("endoftext", "fim_prefix", "fim_middle", "fim_suffix", first=100_257) | _special("endofprompt", first=100_276),
    ),
    "o200k_base": _Encoding(PATTERNS["o200k"], _special("endoftext", first=199_999) | _special("endofprompt", first=200_018)),
    "qwen": _Encoding(
        PATTERNS["qwen2"],
        _special("endoftext", "im_start", "im_end", *(f"extra_{at}" for at in range(205)), first=151_643),
        nfc=True,
    ),
    "llama3": _Encoding(PATTERNS["llama3"], _llama3(), start="<|begin_of_text|>"),
}
_CLASSES = {"QWenTokenizer": "qwen"}


def looks_like(data: bytes) -> bool:
    """Whether a file's first bytes are a line of base64, a space and a rank."""
    token, _, rank = data.split(b"\n", 1)[0].partition(b" ")
    return bool(token) and rank.strip().isdigit()


def ranked(path: Path, data: bytes, config: Mapping[str, Any]) -> Ranked:
    """The ranks of a file's `data`, with what `config` (tokenizer_config.json) or its name says.

    Raises `RunError` where it is damaged, or where nothing tells how text is cut.
    """
    ranks = _ranks(path, data)
    encoding = _encoding(path, len(ranks), config)
    listed = config.get("added_tokens_decoder")
    if isinstance(listed, dict):
        known = {token: id for token, id in encoding.special.items() if str(id) not in listed}
        entries = [{**entry, "id": int(id)} for id, entry in listed.items() if id.isascii() and id.isdigit() and isinstance(entry, dict)]
    else:
        known, entries = dict(encoding.special), []
    entries += [{"id": id, "content": token, "special": True} for token, id in known.items()]
    added = added_tokens(path, entries, {f"rank {rank}": rank for rank in ranks.values()})
    start = encoding.start
    if config.get("add_bos_token") is not None:
        bos = config.get("bos_token")
        start = (bos.get("content") if isinstance(bos, dict) else bos or start) if config["add_bos_token"] else None
    ids = {token.content: token.id for token in added}
    if start is not None and start not in ids:
        raise damaged(path, f"there is no start token {start!r}")
    return Ranked(path, ranks, encoding.pattern, added, () if start is None else (ids[start],), encoding.nfc)


def _encoding(path: Path, count: int, config: Mapping[str, Any]) -> _Encoding:
    stated = config.get("encoding_name") or _CLASSES.get(str(config.get("tokenizer_class")))
    name = str(stated or path.stem)
    if not stated and path.name == "tokenizer.model" and count == _LLAMA3_RANKS:
        name = "llama3"
    if name in ENCODINGS:
        return ENCODINGS[name]
    raise RunError(
        f"{path} does not say how text is cut before merging, and no encoding is known as {name!r}; rename it, or say "
        f'"encoding_name" in a tokenizer_config.json beside it. Choices: {", ".join(ENCODINGS)}.'
    )


def _ranks(path: Path, data: bytes) -> dict[bytes, int]:
    lines = data.split(b"\n", MAX_ID + 1)
    if len(lines) > MAX_ID:
        raise damaged(path, f"it has more than {MAX_ID} lines")
    ranks: dict[bytes, int] = {}
    try:
        for line in lines:
            if line.strip():
                token, rank = line.split()
                ranks[base64.b64decode(token, validate=True)] = int(rank)
    except (ValueError, binascii.Error) as error:
        raise damaged(path, f"line {lines.index(line) + 1} is no base64 and rank") from error
    if not ranks or max(ranks.values()) >= MAX_ID or min(ranks.values()) < 0 or b"" in ranks:
        raise damaged(path, f"a token is empty, or a rank is outside 0 to {MAX_ID - 1}")
    if len(set(ranks.values())) != sum(bool(line.strip()) for line in lines):
        raise damaged(path, "two tokens have the same rank, or one has two")
    if missing := IN_UTF8 - {token[0] for token in ranks if len(token) == 1}:
        raise damaged(path, f"{len(missing)} bytes are no tokens of it")
    return ranks
