"""Events <-> a file or a descriptor, one flushed line an event. Knows no terminal and no model."""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from gencli.errors import GencliError, RunError, UsageError
from gencli.events import VERSION, Event, Finished, Started, Token, to_json
from gencli.fingerprint import Fingerprint, checkpoint_files
from gencli.schema import event_from
from gencli.terminal import create, encode, reason, visible, write_all

LONGEST_LINE = 1 << 28  # bytes; an event that lists every candidate of a large vocabulary has a tenth of that


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


def read_trace(trace: str | os.PathLike[str] | BinaryIO) -> Trace:
    """Read a trace, a file or an open stream. A last line that is cut short is left out and reported in `broken`.

    Events and fields that this version does not know are passed over. Raises `RunError` for a file that
    cannot be read, a line in the middle that is no event, or a trace of another version.
    """
    broken: list[str] = []
    return Trace(tuple(trace_events(trace, broken.append)), *broken)


def trace_events(trace: str | os.PathLike[str] | BinaryIO, broken: Callable[[str], object]) -> Iterator[Event]:
    """The events of a trace one by one, so that a long one need not fit the memory; `broken` is told of a cut last line.

    Raises what `read_trace` raises.
    """
    path = os.fspath(trace) if isinstance(trace, str | os.PathLike) else None
    name = "the trace" if path is None else visible(path, on_one_line=True)
    with ExitStack() as cleanup:
        try:
            stream: Any = trace if path is None else cleanup.enter_context(open(path, "rb"))
            yield from _events(stream, name, broken)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            if isinstance(error, GencliError):
                raise
            raise RunError(f"cannot read {name}: {reason(error) if isinstance(error, OSError) else error}.") from error


def begun(events: Iterator[Event]) -> tuple[Started, Iterator[Event]]:
    """The start of a trace's run, and what follows it; raises `RunError` where there is none."""
    started = next((event for event in events if isinstance(event, Started)), None)
    if started is None:
        raise RunError("the trace holds no start of a run.")
    return started, events


def _events(stream: BinaryIO, name: str, broken: Callable[[str], object]) -> Iterator[Event]:
    failed: tuple[int, Exception] | None = None
    for number, line in enumerate(iter(lambda: stream.readline(LONGEST_LINE + 1), b""), start=1):
        if not line.strip(b"\r\n"):
            continue
        if failed is not None:
            told = visible(str(failed[1]), on_one_line=True)[:200]
            raise RunError(f"{name}, line {failed[0]}: this is no event ({told}).") from failed[1]
        if len(line) > LONGEST_LINE:
            raise RunError(f"{name}, line {number} holds more than {LONGEST_LINE >> 20} MiB; that is no event.")
        try:
            event = event_from(json.loads(line, parse_constant=_refused))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            failed = number, error
            continue
        if isinstance(event, Started) and event.version != VERSION:
            raise RunError(f"{name}, line {number}: version {event.version} of the events; this program reads version {VERSION}.")
        if event is not None:
            yield event
    if failed is not None:
        broken(f"{name}: line {failed[0]} is cut short and was left out.")


def _refused(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")
