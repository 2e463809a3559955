"""The own bytes of every token, read off a tokenizer.json's decoder. Knows no model and encodes nothing."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gencli.tokenizers._source import damaged

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Library

    from gencli.tokenizers._source import Source

# One step of a decoder, applied to one token: bytes are final, a str may be changed by later steps.
Step = Callable[[str], "str | bytes"]

MOST_ASKED = 100_000  # tokens, in some two seconds
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_CLEAN = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"),
    (" 'm", "'m"), (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip


def _alphabet() -> dict[int, int]:
    """The character that stands for each byte (as an ordinal) -> the byte: printable Latin-1 stands for itself."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(0x100)) - set(printable))
    return {byte: byte for byte in printable} | {0x100 + at: byte for at, byte in enumerate(others)}


BYTES = _alphabet()


def spelled(token: str) -> bytes:
    """The bytes that a byte-level token spells; one that spells none stands for itself."""
    try:
        return codecs.charmap_encode(token, "strict", BYTES)[0]
    except UnicodeEncodeError:
        return token.encode()


def token_bytes(source: Source, library: Library) -> tuple[list[bytes], bool]:
    """(the own bytes of ids 0 .. size - 1, whether one space at the start of a text is not the text's).

    Joined, they give what the library's decoder gives, but for this: special tokens are their own
    text, a decoder that drops several spaces at the start drops one, and bytes that are no character
    become U+FFFD as UTF-8 says. A decoder of another kind is asked what each token adds after another.
    """
    found = [b""] * source.size
    steps = _steps(source.decoder)
    if steps is None:
        strips = _ask(source, library, found)
    else:
        of_token, strips = steps
        for token, id in source.vocab.items():
            found[id] = of_token(token)
        for added in source.added:
            found[added.id] = of_token(added.content)
    for added in source.added:
        if added.special or steps is None:
            found[added.id] = added.content.encode()
    return found, strips


def _steps(decoder: Any) -> tuple[Callable[[str], bytes], bool] | None:
    """A decoder as (token -> bytes, whether it drops a space at the start); None where that cannot be said token by token."""
    steps: list[Step] = []
    fused = strips = False
    for part in _parts(decoder):
        match part:
            case {"type": "Fuse"}:
                fused = True
            case {"type": "ByteLevel"}:
                steps.append(spelled)
            case {"type": "ByteFallback"} if not fused:
                steps.append(_byte)
            case {"type": "Replace", "pattern": {"String": str(old)}, "content": str(new)} if old and (len(old) == 1 or not fused):
                steps.append(_replacing(old, new))
            case {"type": "Strip", "content": " ", "start": 1, "stop": 0} if fused:
                strips = True
            case {"type": "Metaspace", "replacement": str(mark), **rest} if not fused:
                strips = rest.get("prepend_scheme", "always" if rest.get("add_prefix_space", True) else "never") != "never"
                steps.append(_replacing(mark, " "))
            case {"type": "WordPiece", "prefix": str(prefix), **rest} if not fused:
                strips = True
                steps.append(_word_piece(prefix, rest.get("cleanup") is True))
            case {"type": "BPEDecoder", "suffix": str(suffix)} if suffix and not fused:
                steps.append(_replacing(suffix, " "))
            case _:
                return None
    return (lambda token: _through(steps, token), strips) if steps else None


def _parts(decoder: Any) -> Iterator[Any]:
    match decoder:
        case {"type": "Sequence", "decoders": [*decoders]}:
            for each in decoders:
                yield from _parts(each)
        case _:
            yield decoder


def _through(steps: Sequence[Step], token: str) -> bytes:
    for step in steps:
        made = step(token)
        if isinstance(made, bytes):
            return made
        token = made
    return token.encode()


def _byte(token: str) -> str | bytes:
    match = _BYTE_TOKEN.fullmatch(token)
    return bytes.fromhex(match[1]) if match else token


def _replacing(old: str, new: str) -> Step:
    return lambda token: token.replace(old, new)


def _word_piece(prefix: str, cleanup: bool) -> Step:
    def step(token: str) -> str:
        token = token[len(prefix) :] if token.startswith(prefix) else f" {token}"
        for old, new in _CLEAN if cleanup else ():
            token = token.replace(old, new)
        return token

    return step


def _ask(source: Source, library: Library, found: list[bytes]) -> bool:
    """Fills in what each token adds to the text of another; tells whether one alone loses a space by which it begins."""
    ids = [*source.vocab.values()]
    if not ids:
        return False
    if len(ids) > MOST_ASKED:
        raise damaged(source.path, f"its decoder is of a kind that is known only for vocabularies of up to {MOST_ASKED:,} tokens")
    first = ids[len(ids) // 2]
    before = library.decode([first], skip_special_tokens=False)
    strips = False
    for id in ids:
        alone = library.decode([id], skip_special_tokens=False)
        both = library.decode([first, id], skip_special_tokens=False)
        added = both[len(before) :] if both.startswith(before) else alone
        strips |= added == f" {alone}"
        found[id] = added.encode()
    return strips
