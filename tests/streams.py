"""Puts pipes, files and pseudo-terminals in the place of stdout and stderr, and takes them back."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def as_descriptor(number: int, target: int | None) -> Iterator[None]:
    """Within, descriptor `number` is `target`, or closed where that is None."""
    saved = os.dup(number)
    try:
        if target is None:
            os.close(number)
        else:
            os.dup2(target, number)
        yield
    finally:
        os.dup2(saved, number)
        os.close(saved)


class Terminal:
    """A pseudo-terminal: `slave` is what a program writes to, `read` what arrived."""

    def __init__(self, columns: int = 80, lines: int = 24) -> None:
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)  # what is written arrives as it is
        os.set_blocking(self.master, False)
        self.resize(columns, lines)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self) -> str:
        parts = []
        try:
            while part := os.read(self.master, 65536):
                parts.append(part)
        except (BlockingIOError, OSError):
            pass
        return b"".join(parts).decode()

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)


@contextmanager
def terminal(*numbers: int, columns: int = 80, lines: int = 24) -> Iterator[Terminal]:
    """Within, these descriptors are one new pseudo-terminal."""
    one = Terminal(columns, lines)
    try:
        if len(numbers) == 2:
            with as_descriptor(numbers[0], one.slave), as_descriptor(numbers[1], one.slave):
                yield one
        else:
            with as_descriptor(numbers[0], one.slave):
                yield one
    finally:
        one.close()


@contextmanager
def pipe(number: int) -> Iterator[int]:
    """Within, this descriptor is a pipe; yields the end to read from."""
    read, write = os.pipe()
    try:
        with as_descriptor(number, write):
            os.close(write)
            yield read
    finally:
        os.close(read)


def abandon(read: int) -> None:
    """Nobody reads this end of a pipe any more."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, read)
    os.close(nothing)
