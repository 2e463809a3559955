"""One file of the hub -> the hub's cache: resumed where it was cut off, and what the hub says it is. Knows no checkpoint.

huggingface_hub throws away what a process had when it ended; here it stays beside the blob as
DIGEST.incomplete, and the next attempt goes on from there.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from gencli.errors import GencliError, RunError, UsageError, shown, sized

CHUNK = 1 << 22  # bytes
DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # git's of a blob, or the sha256 of a file too large for git
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LOGIN = "say who you are with HF_TOKEN or `hf auth login`"
ELSEWHERE = "HF_HUB_CACHE names another place."
KEPT = "What was fetched is kept: the same command goes on from there."

Told = Callable[[str, int], object]


class Remote(NamedTuple):
    """A file of a repository: its name there, its bytes, its digest, and where it is to be had."""

    name: str
    size: int
    digest: str
    url: str


def is_there(file: Remote, blobs: Path) -> bool:
    """Whether the cache holds this file whole."""
    try:
        return (blobs / file.digest).stat().st_size == file.size
    except OSError:
        return False


def fetch(file: Remote, blobs: Path, told: Told) -> int:
    """Fetch a file into a folder of blobs and return how many bytes came; what was there before is gone on from.

    `told` hears "fetching" or "checking" and how many bytes are there. Raises `RunError` where another
    process fetches it, or where what came is not what the hub said.
    """
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    blobs.mkdir(parents=True, exist_ok=True)
    partly = blobs / f"{file.digest}.incomplete"
    with _locked(partly, file.name) as stream:
        before = stream.seek(0, os.SEEK_END)
        if before > file.size:
            before = stream.truncate(stream.seek(0))
        counter: Any = partial(_Counter, file=file, told=told)
        headers = build_hf_headers(library_name="gencli")
        try:
            http_get(file.url, stream, resume_size=before, headers=headers, expected_size=file.size, tqdm_class=counter)
            stream.flush()
            if _digest(stream, file, told) != file.digest:
                raise RunError(f"{shown(file.name)} is not what the hub says it is: its digest differs. It was thrown away; pull again.")
        except RunError:
            partly.unlink()
            raise
        os.replace(partly, blobs / file.digest)
    return file.size - before


@contextmanager
def _locked(path: Path, name: str) -> Iterator[BinaryIO]:
    """The file at a path, made where it is not, for this process alone."""
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    with os.fdopen(descriptor, "r+b") as stream:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"another process is fetching {shown(name)} at this moment; wait for it.") from None
        except OSError:  # a file system that has no locks
            pass
        yield stream


def _digest(stream: BinaryIO, file: Remote, told: Told) -> str:
    """A file's digest, of the kind that the hub gave."""
    of_git = len(file.digest) == 40
    digest = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False) if of_git else hashlib.sha256()
    stream.seek(0)
    buffer, done = memoryview(bytearray(CHUNK)), 0
    while count := stream.readinto(buffer):  # type: ignore[attr-defined]
        digest.update(buffer[:count])
        told("checking", done := done + count)
    return digest.hexdigest()


class _Counter:
    """Stands where huggingface_hub expects a progress bar: counts what comes, and stops what never ends."""

    def __init__(self, file: Remote, told: Told, initial: int = 0, **_: Any) -> None:
        self._file, self._told, self._done = file, told, initial

    def update(self, count: int) -> None:
        self._done += count
        if self._done > self._file.size:
            size = sized(self._file.size)
            raise RunError(f"{shown(self._file.name)} is longer than the {size} that the hub says it has. It was thrown away.")
        self._told("fetching", self._done)

    def __enter__(self) -> _Counter:
        return self

    def __exit__(self, *_: object) -> None:
        return


def refuse_a_full_disk(folder: Path, size: int) -> None:
    """Raises `RunError` where the disk of a folder that may not be there yet has less than `size` bytes free."""
    place = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(place).free
    if size > free:
        raise RunError(f"{sized(size)} are to be fetched, and the disk of {folder} has {sized(free)} free. {ELSEWHERE}")


@contextmanager
def told_plainly(repo: str, endpoint: str) -> Iterator[None]:
    """Within, what goes wrong between here and the hub is raised as a sentence: `UsageError` for what is not there, else `RunError`."""
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except GencliError:
        raise
    except errors.GatedRepoError as error:
        raise RunError(f"{repo} is gated: ask for access at {endpoint}/{repo}, then {LOGIN}.") from error
    except errors.RevisionNotFoundError as error:
        raise UsageError(f"{repo} has no such revision; its branches and tags stand at {endpoint}/{repo}.") from error
    except errors.HfHubHTTPError as error:
        raise _refused(repo, endpoint, error.response.status_code) from error
    except errors.OfflineModeIsEnabled as error:
        raise RunError("HF_HUB_OFFLINE is set, so nothing is fetched; unset it to pull.") from error
    except httpx2.TooManyRedirects as error:
        raise RunError(f"{endpoint} sends from one address to the next without end; nothing was fetched.") from error
    except httpx2.HTTPError as error:
        raise RunError(f"{endpoint} cannot be reached: {_reason(error)}. {KEPT}") from error
    except OSError as error:
        if error.errno in FULL:
            raise RunError(f"the disk is full: {error.strerror}. {KEPT} {ELSEWHERE}") from error
        if error.errno is None:  # huggingface_hub's word for a length that is not the one that was told
            raise RunError(f"{endpoint} sent a file of {repo} shorter than it says. {KEPT}") from error
        raise RunError(f"the cache of the hub cannot be written: {error.strerror} ({error.filename}).") from error


def _refused(repo: str, endpoint: str, status: int) -> GencliError:
    """What a refusal of the hub means."""
    if status in (401, 404):
        return UsageError(f"{endpoint} has no {repo}, or shows it only to those it knows: check the name, or {LOGIN}.")
    if status == 403:
        return RunError(f"{endpoint} does not let you have {repo}; see what {endpoint}/{repo} asks for.")
    if status == 429:
        return RunError(f"{endpoint} was asked too often; wait some minutes. {KEPT}")
    return RunError(f"{endpoint} answered with status {status}. {KEPT}")


def _reason(error: Exception) -> str:
    """What the network said, as the end of a sentence."""
    words = str(error).strip().rstrip(".") or type(error).__name__
    return shown(words).strip("'\"")
