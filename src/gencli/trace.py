"""Events <-> a file of JSON lines: one flushed line an event, and back again. Knows no terminal and no tensors."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gencli.errors import RunError, UsageError
from gencli.events import Event, Finished, Hashed, Started, to_json
from gencli.fingerprint import Fingerprint
from gencli.terminal import create, encode, reason, write_all


class TraceWriter:
    """A renderer that writes every event as a line, to a file or, as "fd:3", to an open descriptor.

    The checkpoint's fingerprint is found in the background and written as soon as it is known, at the
    latest before the first sample ends. Raises `RunError` where the place cannot be written.
    """

    def __init__(self, where: str) -> None:
        number = re.fullmatch(r"fd:([0-9]{1,9})", where)
        if where.startswith("fd:") and not number:
            raise UsageError(f"--trace takes a file or fd:N with a descriptor's number, not {where!r}.")
        self._where, self._own = where, number is None
        self._descriptor = int(number[1]) if number else create(where)
        self._fingerprint: Fingerprint | None = None
        self._failed = False

    def show(self, event: Event) -> None:
        if isinstance(event, Started):
            self._fingerprint = Fingerprint(Path(event.checkpoint["path"]))
        elif self._fingerprint is not None:
            # who is interrupted does not wait for a hash
            wait = isinstance(event, Finished) and event.reason != "interrupted"
            found = self._fingerprint.found(wait=wait)
            if found is not None:
                self._fingerprint = None
                self._write(Hashed(**found))
        self._write(event)

    def close(self) -> None:
        """Close a file of ours; safe to call twice."""
        if self._own:
            self._own, self._failed = False, True
            os.close(self._descriptor)

    def _write(self, event: Event) -> None:
        if self._failed:
            return
        try:
            write_all(self._descriptor, encode(to_json(event) + "\n"))
        except OSError as error:
            self._failed = True
            raise RunError(f"cannot write the trace to {self._where}: {reason(error)}.") from error


def read_trace(path: str | os.PathLike[str]) -> tuple[list[dict[str, Any]], bool]:
    """The events of a trace as JSON values, and whether its last line was cut off (it is left out then).

    Raises `RunError` where the file is unreadable, or damaged anywhere else.
    """
    events: list[dict[str, Any]] = []
    lines = list(_lines(path))
    for number, line in enumerate(lines, 1):
        try:
            event = json.loads(line)
            if not isinstance(event, dict) or "event" not in event:
                raise ValueError("it is no event")
        except (ValueError, RecursionError) as error:
            if number == len(lines):
                return events, True
            raise RunError(f"{os.fspath(path)}, line {number}: this is no trace, or it is damaged: {error}.") from error
        events.append(event)
    return events, False


def _lines(path: str | os.PathLike[str]) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
            yield from file
    except OSError as error:
        raise RunError(f"{os.fspath(path)} cannot be read: {reason(error)}.") from error
