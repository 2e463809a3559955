"""Events <-> a file or a descriptor, one flushed line an event. Knows no terminal and no model."""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from gencli.errors import RunError, UsageError
from gencli.events import VERSION, Event, Finished, Started, Token, to_json
from gencli.fingerprint import Fingerprint, checkpoint_files
from gencli.schema import event_from
from gencli.terminal import create, encode, reason, visible, write_all


class TraceWriter:
    """Writes every event as it happens, and the checkpoint's fingerprint as soon as it is known.

    `target` is a file, which is emptied, or `fd:N`, an open descriptor, which stays open. Raises
    `UsageError` for a descriptor that is none, `RunError` for a file that cannot be opened, and later
    for one that cannot be written; a regular file then still ends with a whole line.
    """

    def __init__(self, target: str) -> None:
        self.name = visible(target, on_one_line=True)
        number = re.fullmatch(r"fd:(\d+)", target)
        if target.startswith("fd:") and not number:
            raise UsageError(f"--trace fd:N takes the number of an open descriptor, not '{self.name}'.")
        self._own = number is None
        self._descriptor = create(target) if number is None else _writable(int(number[1]))
        # a file of ours can be cut back to its last whole line; others may write to a descriptor too
        self._length = 0 if self._own and stat.S_ISREG(os.fstat(self._descriptor).st_mode) else None
        self._failed = False
        self._fingerprint: Fingerprint | None = None
        self._told = False  # the fingerprint stands in the trace
        self._path: Path | None = None

    def show(self, event: Event) -> None:
        """Append one event."""
        if isinstance(event, Started) and "path" in event.checkpoint:
            self._path = Path(event.checkpoint["path"])
        elif isinstance(event, Token | Finished) and self._fingerprint is None and self._path is not None:
            self._start_hashing(self._path)  # not before: until the first token everything waits for the model
        if self._fingerprint is not None and isinstance(event, Finished):
            if event.reason == "interrupted":
                self._fingerprint.cancel()
            else:
                self._fingerprint.wait()
        if self._fingerprint is not None and not self._told and (hashed := self._fingerprint.ready()):
            self._told = True
            self._append(hashed)
        self._append(event)

    def close(self) -> None:
        """Every line is written already: let go of the file, and of a fingerprint that a failed run still works on."""
        if self._fingerprint is not None:
            self._fingerprint.cancel()
        if self._own:
            self._own, failed, self._failed = False, self._failed, True
            try:
                os.close(self._descriptor)
            except OSError as error:
                if not failed:
                    raise self._failure(error) from error

    def _start_hashing(self, path: Path) -> None:
        try:
            self._fingerprint = Fingerprint(checkpoint_files(path))
        except OSError:  # it was taken away after it was loaded
            self._path = None

    def _append(self, event: Event) -> None:
        if self._failed:
            return
        try:
            written = write_all(self._descriptor, encode(to_json(event)) + b"\n")
        except OSError as error:
            self._failed = True
            self._cut()
            raise self._failure(error) from error
        except BaseException:  # an impatient interrupt in the middle of a line
            self._failed = True
            self._cut()
            raise
        if self._length is not None:
            self._length += written

    def _cut(self) -> None:
        """Take back a line that was written in part, where that is possible."""
        if self._length is not None:
            try:
                os.ftruncate(self._descriptor, self._length)
            except OSError:
                return

    def _failure(self, error: OSError) -> RunError:
        return RunError(f"cannot write the trace to {self.name}: {reason(error)}.")


def _writable(descriptor: int) -> int:
    try:
        mode = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"--trace fd:{descriptor}: descriptor {descriptor} is not open; a shell opens it with {descriptor}>FILE."
        ) from error
    if mode == os.O_RDONLY:
        raise UsageError(f"--trace fd:{descriptor}: descriptor {descriptor} is open for reading only.")
    return descriptor


@dataclass(frozen=True)
class Trace:
    """A trace that was read: its events in order, and what was wrong with its end, if anything (a sentence)."""

    events: tuple[Event, ...]
    broken: str | None = None


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """Read a trace. A last line that is cut short is left out and reported in `broken`.

    Events and fields that this version does not know are passed over. Raises `RunError` for a file that
    cannot be read, a line in the middle that is no event, or a trace of another version.
    """
    name = visible(os.fspath(path), on_one_line=True)
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise RunError(f"cannot read {name}: {reason(error)}.") from error
    events: list[Event] = []
    for number, line in enumerate(lines, start=1):
        try:
            event = event_from(json.loads(line)) if line else None
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            if not any(lines[number:]):
                return Trace(tuple(events), f"{name}: line {number} is cut short and was left out.")
            raise RunError(f"{name}, line {number}: this is no event ({visible(str(error), on_one_line=True)[:200]}).") from error
        if isinstance(event, Started) and event.version != VERSION:
            raise RunError(f"{name}, line {number}: version {event.version} of the events; this program reads version {VERSION}.")
        if event is not None:
            events.append(event)
    return Trace(tuple(events))
