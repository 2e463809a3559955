"""A pseudo-terminal for the installed command: what it writes there, byte by byte."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Sequence

import warm
from shell import Shell


def on_a_terminal(
    shell: Shell,
    args: Sequence[str],
    columns: int = 80,
    lines: int = 24,
    *,
    later: Sequence[tuple[int, int]] = (),
    env: dict[str, str] | None = None,
) -> tuple[bytes, int]:
    """Run with all three streams on one terminal; returns what was written there and the exit code.

    The window takes the `later` sizes one after another, as writing goes on.
    """
    master, slave = pty.openpty()
    resize(slave, columns, lines)
    environment = {**shell.env, **(env or {})}
    process = warm.start(args, shell.folder, environment, (slave, slave, slave), new_session=True)
    sizes, written, deadline = list(later), b"", time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.1)[0]:
            try:
                chunk = os.read(master, 1024)
            except OSError:  # the other side is gone
                break
            if not chunk:
                break
            written += chunk
            if sizes and len(written) > 2000 * (len(later) - len(sizes) + 1):
                resize(slave, *sizes.pop(0))
        elif process.poll() is not None:
            break
    os.close(slave)
    os.close(master)
    return written, process.wait(timeout=10)


def resize(descriptor: int, columns: int, lines: int) -> None:
    """Give the terminal another window size."""
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
