"""A checkpoint's tokenizer.json, read and checked, whoever wrote it. Knows no tokenizer library but by name.

What is damaged is a `RunError` that names the file; nothing that a file holds leads to a traceback.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gencli.errors import RunError, shown
from gencli.tokenizers._added import AddedToken
from gencli.tokenizers._regexes import objection, patterns

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Library

MAX_BYTES = 48 << 20  # the largest published tokenizer.json has some 35 MB
MAX_ID = 1 << 22
# of each sign in a tokenizer.json: what is read takes some hundred bytes for each, and published ones have fewer
MOST = {b"{": 200_000, b"[": 1_000_000, b",": 1_500_000}


class Inexact(Exception):
    """This kind of tokenizer would not give exactly the ids that the tokenizer.json asks for; says why."""


@dataclass(frozen=True)
class Source:
    """A tokenizer.json: `text` as it was read, `vocab` token -> id (distinct), the added tokens, its parts
    as plain JSON values (of any shape: whoever reads them looks closely). All ids are below `size`.

    `prepare`, of what was no tokenizer.json, makes of a text (and whether it is the first) what is encoded.
    """

    path: Path
    text: str
    model: Mapping[str, Any]
    vocab: Mapping[str, int]
    added: tuple[AddedToken, ...]
    normalizer: Any
    pre_tokenizer: Any
    decoder: Any
    start_ids: tuple[int, ...]
    size: int
    prepare: Callable[[str, bool], str] | None = None

    @property
    def special(self) -> dict[str, int]:
        """The special tokens' text -> id."""
        return {token.content: token.id for token in self.added if token.special}


def read(folder: Path) -> Source:
    """The tokenizer.json of a checkpoint's folder, with the start tokens its tokenizer_config.json may ask for.

    Raises `RunError` where it is unreadable or damaged.
    """
    path = folder / "tokenizer.json"
    try:
        return _read(path)
    except RecursionError as error:
        raise damaged(path, "it is nested too deeply") from error


def _read(path: Path) -> Source:
    text, data = json_object(path)
    start = _start_ids(path, data.get("post_processor"))
    bos = None if start else _added_bos(path.with_name("tokenizer_config.json"))
    return source_from(path, data, text, start, bos)


def source_from(
    path: Path,
    data: Mapping[str, Any],
    text: str | None = None,
    start_ids: tuple[int, ...] = (),
    bos: str | None = None,
    prepare: Callable[[str, bool], str] | None = None,
) -> Source:
    """A tokenizer.json's `data`, checked. `bos` is the text of a start token. Raises `RunError` where it is damaged."""
    model = data.get("model")
    if not isinstance(model, dict):
        raise damaged(path, "it has no model")
    vocab = _vocab(path, model)
    added = added_tokens(path, data.get("added_tokens") or [], vocab)
    size = 1 + max(max(vocab.values(), default=-1), max((token.id for token in added), default=-1))
    start = start_ids
    if bos is not None:
        start = (next((token.id for token in added if token.content == bos), vocab.get(bos, size)),)
    if not all(0 <= id < size for id in start):
        raise damaged(path, "a start token is outside the vocabulary")
    normalizer, pre_tokenizer, decoder = (data.get(part) for part in ("normalizer", "pre_tokenizer", "decoder"))
    for pattern in patterns([normalizer, pre_tokenizer, decoder]):
        if (why := objection(pattern)) is not None:
            raise RunError(f"{path}: its pattern {shown(pattern)} {why}; it could keep this machine busy for ever, so it is not run.")
    text = json.dumps(data) if text is None else text
    return Source(path, text, model, vocab, added, normalizer, pre_tokenizer, decoder, start, size, prepare)


@contextmanager
def refused(path: Path) -> Iterator[None]:
    """A library's own failure as a `RunError` that names the file; a panic of Rust code is no `Exception`."""
    try:
        yield
    except RunError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"The tokenizer of {path} failed: {reason or type(error).__name__}.") from error


def library(path: Path, text: str, added: Iterable[AddedToken]) -> Library:
    """A tokenizer.json's `text` on the `tokenizers` package: special-token text stays text, nothing is cut or padded.

    Raises `RunError` where it gives one of the `added` tokens another id than the file does: it numbers
    them without gaps.
    """
    from tokenizers import Tokenizer  # only what byte-level BPE cannot do waits for it

    with refused(path):
        library = Tokenizer.from_str(text)
    for token in added:
        if library.token_to_id(token.content) != token.id:
            raise damaged(path, f"the id {token.id} of the added token {token.content!r} leaves a gap")
    library.no_truncation()
    library.no_padding()
    library.encode_special_tokens = True
    return library


def damaged(path: Path, what: str) -> RunError:
    """The error for a file that does not hold what it should."""
    return RunError(f"{path} is damaged: {what}.")


def json_object(path: Path, most: Mapping[bytes, int] = MOST) -> tuple[str, dict[str, Any]]:
    """The text of a file and the JSON object that it is. Raises `RunError` where it is damaged, or larger than any vocabulary."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise damaged(path, f"it is larger than {MAX_BYTES >> 20} MB")
        for sign, count in most.items():
            if content.count(sign) > count:
                raise damaged(path, f"it has more than {count:,} of {sign.decode()!r}, more entries than any vocabulary")
        if not content.rstrip().endswith(b"}"):
            raise damaged(path, "it is not JSON (it does not end as an object ends; perhaps it was cut off)")
        text = content.decode("utf-8")
        data = json.loads(text)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, MemoryError) as error:
        raise damaged(path, f"it is not JSON ({error})") from error
    except RecursionError as error:
        raise damaged(path, "it is nested too deeply") from error
    if not isinstance(data, dict):
        raise damaged(path, "it is not a JSON object")
    return text, data


def _vocab(path: Path, model: Mapping[str, Any]) -> dict[str, int]:
    """Token -> id, checked in a few passes that stay in C: a vocabulary may have a million entries."""
    vocab = model.get("vocab")
    entries = len(vocab) if isinstance(vocab, list | dict) else 0
    if isinstance(vocab, list):  # Unigram: [piece, score], the id is the place
        if not all(isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) for entry in vocab):
            raise damaged(path, "its vocabulary is not a list of pieces and scores")
        vocab = {entry[0]: id for id, entry in enumerate(vocab)} if len(vocab) <= MAX_ID else {}
    if not isinstance(vocab, dict):
        raise damaged(path, "it has no vocabulary")
    ids = vocab.values()
    if not set(map(type, ids)) <= {int}:
        raise damaged(path, "a token's id is not a whole number")
    if ids and (min(ids) < 0 or max(ids) >= MAX_ID):
        raise damaged(path, f"a token's id is outside 0 to {MAX_ID - 1}")
    if len(set(ids)) != entries:
        raise damaged(path, "two tokens have the same id, or one has two")
    _check_characters(path, "".join(vocab))
    return vocab


def _check_characters(path: Path, text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise damaged(path, "a token holds half a character (a lone surrogate)") from error


def added_tokens(path: Path, entries: Any, vocab: Mapping[str, int]) -> tuple[AddedToken, ...]:
    """The added tokens that `entries` of a file describe, beside the tokens of `vocab`. Raises `RunError` where they do not fit."""
    if not isinstance(entries, list):
        raise damaged(path, "its added_tokens are not a list")
    added: dict[str, AddedToken] = {}
    taken = set(vocab.values()) if entries else set()
    for entry in entries:
        match entry:
            case {"id": int(id), "content": str(content)} if type(id) is int and 0 <= id < MAX_ID:
                pass
            case _:
                raise damaged(path, "an added token has no text, or no id from 0 to " + str(MAX_ID - 1))
        known = added[content].id if content in added else vocab.get(content)
        if known != id and (known is not None or id in taken):
            raise damaged(path, f"the added token {content!r} and another have the same id, or it has two")
        taken.add(id)
        flags = {flag: entry.get(flag) is True for flag in ("special", "single_word", "lstrip", "rstrip", "normalized")}
        if content:  # the library passes over an empty one too
            added[content] = AddedToken(id, content, **flags)
    _check_characters(path, "".join(added))
    return tuple(added.values())


def _start_ids(path: Path, processor: Any) -> tuple[int, ...]:
    """The ids that a post-processor puts before a text. What it puts behind is not for a text that goes on."""
    match processor:
        case None | {"type": "ByteLevel"}:
            return ()
        case {"type": "Sequence", "processors": [*processors]}:
            return tuple(id for each in reversed(processors) for id in _start_ids(path, each))
        case {"type": "BertProcessing" | "RobertaProcessing", "cls": [str(), int(id)]}:
            return (id,)
        case {"type": "TemplateProcessing", "single": [*items], "special_tokens": dict(tokens)}:
            return tuple(_template_ids(path, items, tokens))
    raise damaged(path, "its post_processor is of no known kind")


def _template_ids(path: Path, items: Sequence[Any], tokens: Mapping[str, Any]) -> Iterator[int]:
    for item in items:
        match item:
            case {"Sequence": _}:
                return
            case {"SpecialToken": {"id": str(name)}}:
                match tokens.get(name):
                    case {"ids": [*ids]} if all(type(id) is int for id in ids):
                        yield from ids
                        continue
        raise damaged(path, "its post_processor names a token that it does not describe")


def _added_bos(path: Path) -> str | None:
    """The text of the bos_token where tokenizer_config.json says `add_bos_token`. Where a post-processor adds
    start tokens, nobody asks: it decides, as in transformers."""
    if not path.is_file():
        return None
    match json_object(path)[1]:
        case {"add_bos_token": True, "bos_token": str(content) | {"content": str(content)}}:
            return content
    return None
