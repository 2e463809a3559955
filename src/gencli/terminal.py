"""The two channels as raw bytes: stdout or a file for the product, stderr for the person. Knows no event, model or panel.

Nothing here goes through Python's own buffers: what was written has left the process, in the order in
which it was written, and nothing is flushed, or fails, behind our back at exit.
"""

from __future__ import annotations

import os
import re
import select
import stat
from collections.abc import Callable
from typing import Final, Literal

from gencli.errors import RunError

Colour = Literal["none", "attributes", "standard"]

FALLBACK_SIZE: Final = (80, 24)
_CONTROLS: Final = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"},  # control pictures: ESC is ␛
    0x7F: "\u2421",
    **{code: f"\\x{code:02x}" for code in range(0x80, 0xA0)},
}
_ON_ONE_LINE: Final = {
    **_CONTROLS,
    **{code: chr(0x2400 + code) for code in (0x09, 0x0A)},
    # what reorders or breaks the line it stands in
    **{code: f"\\u{code:04x}" for code in (0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))},
    # bytes of a file name that are no UTF-8, as Python carries them
    **{0xDC00 + byte: f"\\x{byte:02x}" for byte in range(0x80, 0x100)},
}
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


class ReaderGone(Exception):
    """Whoever read stdout has closed it: the process ends with 141 and says nothing."""


def visible(text: str, *, on_one_line: bool = False) -> str:
    """The text with its control characters shown instead of obeyed; newline and tab pass.

    U+0000 .. U+001F and U+007F become their control pictures, U+0080 .. U+009F become `\\x80` .. `\\x9f`.
    With `on_one_line` newline, tab, line separators and bidirectional overrides are shown as well.
    """
    return text.translate(_ON_ONE_LINE if on_one_line else _CONTROLS)


def encode(text: str) -> bytes:
    """UTF-8; half of a surrogate pair, which no UTF-8 has, becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", text).encode()


def write_all(descriptor: int, data: bytes) -> int:
    """Write every byte, however few the system takes at a time; returns their number. Raises `OSError`."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # a shell may leave a descriptor non-blocking
            select.select([], [descriptor], [])
    return len(data)


def reason(error: OSError) -> str:
    """What the system said, as the end of a sentence: "no space left on device"."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def colour_of(terminal: bool) -> Colour:
    """What a stream may be coloured with, by NO_COLOR, FORCE_COLOR and TERM: nothing, attributes such as bold, or the 16 colours."""
    forced = os.environ.get("FORCE_COLOR", "").lower() not in ("", "0", "false")
    if not (forced or (terminal and capable())):
        return "none"
    return "attributes" if os.environ.get("NO_COLOR") else "standard"


def capable() -> bool:
    """Whether a terminal of this TERM can move its cursor."""
    return os.environ.get("TERM") not in ("dumb", "unknown")


class Output:
    """Where the product goes: stdout, or the file at `path`. UTF-8 whatever the locale, unbuffered.

    `terminal`: control characters are made visible; otherwise bytes pass untouched. `pipe`: somebody
    else reads it (no terminal, no file). `watch` is told every text just before it is written.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.name = "stdout" if path is None else visible(os.fspath(path), on_one_line=True)
        self._descriptor = 1 if path is None else create(path)
        self._own = path is not None
        self._failed = False
        self.watch: Callable[[str], object] | None = None
        try:
            mode = os.fstat(self._descriptor).st_mode
        except OSError:  # closed; the first write says so
            mode = 0
        self.terminal = stat.S_ISCHR(mode) and os.isatty(self._descriptor)
        self.pipe = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)

    def write(self, text: str) -> None:
        """Write the text now. Raises `ReaderGone` or `RunError`; after a failure nothing more is written."""
        self.styled(visible(text) if self.terminal else text)

    def styled(self, text: str) -> None:
        """Like `write`, for text that was made visible before it was coloured."""
        if not text or self._failed:
            return
        if self.watch is not None:
            self.watch(text)
        try:
            write_all(self._descriptor, encode(text))
        except BrokenPipeError:
            self._failed = True
            raise ReaderGone from None
        except OSError as error:
            self._failed = True
            raise RunError(f"cannot write to {self.name}: {reason(error)}.") from error
        except BaseException:  # an impatient interrupt: who comes to clean up must not block here again
            self._failed = True
            raise

    def close(self) -> None:
        """Close a file of ours; stdout stays as it is. Raises `RunError` where the system kept an error until now."""
        if self._own:
            self._own, failed, self._failed = False, self._failed, True
            try:
                os.close(self._descriptor)
            except OSError as error:
                if not failed:
                    raise RunError(f"cannot write to {self.name}: {reason(error)}.") from error


def create(path: str | os.PathLike[str]) -> int:
    """Open a file for writing, emptied, and return its descriptor. Raises `RunError`."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise RunError(f"cannot write to {visible(os.fspath(path), on_one_line=True)}: {why}.") from error


class Messages:
    """Stderr. Never raises: a closed stderr, or a reader that went, is ignored.

    `quiet` leaves only errors. `terminal`: a person watches; `draws`: that terminal can move its
    cursor. `lift` is called before a line is written, so that a live panel can make room.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.lift: Callable[[], object] | None = None
        try:
            os.fstat(2)
            self._closed = False
        except OSError:
            self._closed = True  # and stays so: the next file that is opened takes the number 2
        self.terminal = not self._closed and os.isatty(2)
        self.draws = self.terminal and capable()
        self.colour: Colour = colour_of(self.terminal)

    def line(self, text: str) -> None:
        """One or more whole lines, their control characters made visible."""
        self.styled(visible(text))

    def styled(self, text: str) -> None:
        """Like `line`, for text that was made visible before it was coloured."""
        if self.lift is not None:
            self.lift()
        self.raw(text + "\n")

    def warning(self, text: str) -> None:
        """What a person should know and a run survives."""
        if not self.quiet:
            self.line(f"gencli: warning: {visible(text, on_one_line=True)}")

    def error(self, text: str) -> None:
        """Why a run ends."""
        self.line(f"gencli: {visible(text, on_one_line=True)}")

    def raw(self, text: str) -> None:
        """Exactly this, as one write."""
        if self._closed:
            return
        try:
            write_all(2, encode(text))
        except OSError:
            return

    def size(self) -> tuple[int, int]:
        """Columns and rows of the terminal at this moment."""
        try:
            columns, rows = os.get_terminal_size(2)
        except OSError:
            return FALLBACK_SIZE
        return (columns, rows) if columns > 0 and rows > 0 else FALLBACK_SIZE
