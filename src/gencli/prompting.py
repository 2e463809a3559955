"""Argument, file, standard input and template -> the prompt, in pieces. Knows no tokens and no checkpoint."""

from __future__ import annotations

import io
import os
import select
import stat
from dataclasses import dataclass
from typing import BinaryIO

from gencli.errors import RunError, UsageError, shown

PLACE = "{}"  # where a template takes the prompt
EMPTY = ' ("" is the empty one)'
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Prompt:
    """A prompt as pieces (text, may hold special tokens), none of them empty. The empty prompt has no pieces."""

    pieces: tuple[tuple[str, bool], ...] = ()

    @classmethod
    def of(cls, text: str, special: bool = False) -> Prompt:
        """One piece of text; `special`: special-token text in it becomes special tokens."""
        return cls(((text, special),) if text else ())

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(text for text, _ in self.pieces)


def read_prompt(
    argument: str | None,
    *,
    prompt_file: str | os.PathLike[str] | None = None,
    stdin: BinaryIO | None = None,
    no_stdin: bool = False,
    keep_newline: bool = False,
    special: bool = False,
    limit_bytes: int | None = None,
    word: str = "prompt",
    flag: str = "--prompt-file",
) -> Prompt:
    """The prompt of a command line: what was piped in, a blank line, the argument; either may be absent.

    Standard input is read only where it is a pipe, a socket or a file; `prompt_file` is read in its
    place ("-" is standard input, and so is the argument "-"). One final newline of theirs is dropped,
    unless `keep_newline`. What is then empty counts as absent; an argument "" alone is the empty prompt.
    No more than about `limit_bytes` of input are read. Errors call it by its `word` and the file by its `flag`.

    Raises `UsageError` where there is nothing at all, more than `limit_bytes`, no UTF-8, or no such
    file; `RunError` where reading fails.
    """
    if prompt_file is not None and os.fspath(prompt_file) != "-":
        where, given = f"the {word} file {os.fspath(prompt_file)}", _read_file(os.fspath(prompt_file), limit_bytes, word)
    elif no_stdin:
        where, given = "standard input, turned off by --no-stdin,", b""
    else:
        where, given = "standard input", _read_stdin(stdin, limit_bytes)
    text = _text(given, where)
    text = text if keep_newline else text.removesuffix("\n")
    if argument is None or argument == "-":
        if not text:
            raise UsageError(
                f"{where} holds no {word}; give one as the argument{EMPTY if word == 'prompt' else ''}, with {flag} or through a pipe."
            )
        return Prompt.of(text, special)
    return Prompt.of("\n\n".join(part for part in (text, _argument_text(argument)) if part), special)


def apply_template(template: str, prompt: Prompt) -> Prompt:
    """The prompt in the place of the template's only `{}`. The template's own text may hold special tokens.

    Raises `UsageError` where the template does not hold `{}` exactly once.
    """
    if (count := template.count(PLACE)) != 1:
        raise UsageError(f"a template holds {PLACE} exactly once, in the prompt's place; {shown(template)} holds it {count} times.")
    before, _, after = template.partition(PLACE)
    around = ((before, True), *prompt.pieces, (after, True))
    return Prompt(tuple(piece for piece in around if piece[0]))


def refuse_too_long(prompt_bytes: int, context: int, longest_token_bytes: int) -> None:
    """Raises `UsageError` for a prompt that no tokens could make fit, so that it need not be encoded."""
    most = context * longest_token_bytes
    if prompt_bytes > most:
        raise UsageError(
            f"the prompt has {prompt_bytes:,} bytes and cannot fit: the context holds {context:,} tokens of at most "
            f"{longest_token_bytes:,} bytes, {most:,} bytes in all; shorten it."
        )


def _is_input(stream: BinaryIO) -> bool:
    """Whether it is a pipe, a socket, a file or an object without a descriptor: no terminal, device or folder."""
    if stream.closed:
        return False
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except io.UnsupportedOperation:
        return True
    except OSError:  # the descriptor was closed by whoever started the process
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _read_stdin(stream: BinaryIO | None, limit: int | None) -> bytes:
    if stream is None or not _is_input(stream):
        return b""
    try:
        return _read(stream, limit, "standard input")
    except OSError as error:
        raise RunError(f"standard input cannot be read: {error.strerror}.") from error


def _read_file(path: str, limit: int | None, word: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return _read(file, limit, f"the {word} file {path}")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error  # a NUL in a path is a ValueError
        raise UsageError(f"the {word} file {path} cannot be read: {reason}.") from error
    except OSError as error:
        raise RunError(f"the {word} file {path} cannot be read: {error.strerror}.") from error


def _read(stream: BinaryIO, limit: int | None, where: str) -> bytes:
    content = bytearray()
    while True:
        part = stream.read(_CHUNK)
        if part is None:  # a pipe that its other end made non-blocking has nothing yet
            select.select([stream], [], [])
            continue
        content += part
        if limit is not None and len(content) > limit:
            raise UsageError(f"{where} holds more than {limit:,} bytes, which no input here may have.")
        if not part:
            return bytes(content)


def _text(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(where, content[error.start], error.start) from error


def _argument_text(argument: str) -> str:
    """The argument, if it was UTF-8: what was not stands in it as lone surrogates."""
    try:
        argument.encode("utf-8")
    except UnicodeEncodeError as error:
        offset = len(argument[: error.start].encode("utf-8"))
        raise _not_utf8("the argument", ord(argument[error.start]) & 0xFF, offset) from error
    return argument


def _not_utf8(where: str, byte: int, offset: int) -> UsageError:
    return UsageError(f"{where} is not valid UTF-8: the byte 0x{byte:02x} at offset {offset} does not belong there.")
