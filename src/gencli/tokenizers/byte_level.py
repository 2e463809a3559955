"""Byte-level BPE on tiktoken, built from a checkpoint's own tokenizer.json. Knows no model and downloads nothing.

It takes only what it reproduces to the letter; all else is `Inexact`, and the next kind's to try.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from gencli.tokenizers._added import AddedTokens
from gencli.tokenizers._decoding import BYTES, spelled
from gencli.tokenizers._patterns import GPT2, IN_UTF8, PATTERNS, overflows
from gencli.tokenizers._ranks import merge_order
from gencli.tokenizers._source import Inexact, Source, library, refused

if TYPE_CHECKING:
    from tiktoken import Encoding
    from tokenizers import Tokenizer as Library

_KNOWN = frozenset(PATTERNS.values())


class ByteLevel:
    """Text <-> ids, equal to what the `tokenizers` library does with the same file.

    `encode` gives no start tokens and leaves special-token text text; added tokens that are not special
    are matched anywhere. Raises `Inexact` at construction.
    """

    place: ClassVar[int] = 0  # the fastest, asked first
    strips_start = False

    def __init__(self, source: Any) -> None:
        if not isinstance(source, Source):
            raise Inexact("it is no tokenizer.json")
        pattern = _pattern(source.pre_tokenizer)
        self._nfc = _nfc(source.normalizer)
        _check(source, self._nfc)
        self._file = source.path, source.text
        self.size = source.size
        self.special: Mapping[str, int] = source.special
        self.start_ids = source.start_ids
        self._added = AddedTokens(source.added)
        self._ordinary = [token for token in source.added if not token.special]
        self.token_bytes: Sequence[bytes] = _token_bytes(source)
        singles = {id for token, id in source.vocab.items() if len(token) == 1 and ord(token) in BYTES}
        merged = _merged(source, singles)
        ids = [*singles, *merged]
        rising = all(one < other for one, other in pairwise(merged))
        self._ids = None if rising else ids  # rank -> id, where an id cannot be its own rank
        ranks = zip((self.token_bytes[id] for id in ids), ids if rising else range(len(ids)), strict=True)
        self._encoding = _encoding(source, pattern, dict(ranks))

    def encode(self, text: str, *, at_start: bool = True) -> list[int]:
        """The ids of ordinary text; `at_start` makes no difference here."""
        if self._beyond(text):
            with refused(self._file[0]):
                return self._library.encode(text, add_special_tokens=False).ids
        return self._added.around(text, self._merge) if self._ordinary else self._merge(text)

    def find_special(self, text: str, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """(from, to, id) of the special tokens between `start` and `end`."""
        return self._added.find(text, True, start, end)

    def _merge(self, text: str) -> list[int]:
        with refused(self._file[0]):
            ranks = self._encoding.encode_ordinary(text)
        return ranks if self._ids is None else [self._ids[rank] for rank in ranks]

    def _beyond(self, text: str) -> bool:
        """Whether only the library does this text justice: tiktoken overflows, or Unicode versions may differ."""
        if self._nfc and not unicodedata.is_normalized("NFC", text):
            return True
        return overflows(text)

    @cached_property
    def _library(self) -> Library:
        return library(*self._file, self._ordinary)


def _pattern(pre_tokenizer: Any) -> str:
    match pre_tokenizer:
        case {"type": "ByteLevel", "add_prefix_space": False, **rest} if rest.get("use_regex", True) is True:
            return GPT2
        case {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": str(regex)}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        } if regex in _KNOWN:
            return regex
    raise Inexact("its pre_tokenizer splits text in another way")


def _nfc(normalizer: Any) -> bool:
    match normalizer:
        case None | {"type": "Sequence", "normalizers": []}:
            return False
        case {"type": "NFC"} | {"type": "Sequence", "normalizers": [{"type": "NFC"}]}:
            return True
    raise Inexact("its normalizer changes text in another way")


def _check(source: Source, nfc: bool) -> None:
    """Raises `Inexact` for what tiktoken has no counterpart of."""
    model = source.model
    if model.get("type", "BPE") != "BPE" or not isinstance(model.get("merges"), list):
        raise Inexact("it is not byte-pair encoding")
    for feature in ("dropout", "byte_fallback", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(feature):
            raise Inexact(f"its merges use {feature}")
    match source.decoder:
        case {"type": "ByteLevel"}:
            pass
        case _:
            raise Inexact("its tokens do not stand for bytes")
    shields = any(not token.special and not token.normalized for token in source.added)
    for token in source.added:
        if token.lstrip or token.rstrip or token.single_word:
            raise Inexact(f"the added token {token.content!r} looks at its neighbours")
        if token.normalized and ((token.special and (nfc or shields)) or (nfc and not unicodedata.is_normalized("NFC", token.content))):
            raise Inexact(f"the added token {token.content!r} is looked for in changed text")


def _token_bytes(source: Source) -> list[bytes]:
    """The own bytes of every id; b"" where there is none."""
    found = [b""] * source.size
    for token, id in source.vocab.items():
        found[id] = spelled(token)
    for added in source.added:
        content = added.content.encode()
        if found[added.id] not in (b"", content):
            raise Inexact(f"the added token {added.content!r} is also the spelling of bytes")
        found[added.id] = content
    return found


def _merged(source: Source, singles: Collection[int]) -> list[int]:
    """The ids that merges make, in the order of tiktoken's ranks; raises `Inexact` where tiktoken would merge otherwise."""
    vocab, merges = source.vocab, source.model["merges"]
    pairs = (merge.split(" ") for merge in merges) if merges and isinstance(merges[0], str) else merges
    triples = ((vocab[left], vocab[right], vocab[left + right]) for left, right in pairs)
    try:
        order = merge_order(singles, triples, source.size)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Inexact("its merges do not fit its vocabulary") from error
    if order is None:
        raise Inexact("its merges are not the ranks of its tokens")
    if source.model.get("ignore_merges") and len(source.vocab) > len(singles) + len(order):
        reached = {*singles, *order, *(token.id for token in source.added)}
        if not reached.issuperset(vocab.values()):
            raise Inexact("it takes whole words that no merge makes")
    return order


def _encoding(source: Source, pattern: str, ranks: dict[bytes, int]) -> Encoding:
    missing = IN_UTF8 - {token[0] for token in ranks if len(token) == 1}
    if missing:
        raise Inexact(f"{len(missing)} bytes are no tokens of it")
    from tiktoken import Encoding

    with refused(source.path):
        return Encoding(str(source.path), pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
