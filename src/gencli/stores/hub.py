"""The cache that huggingface_hub keeps on disk, read without it: models--OWNER--NAME/{refs,snapshots,blobs}. Knows no other store.

A snapshot's files are links to blobs. A link that leads anywhere else is refused, of a folder when it is opened, of a file
when it is found, so that a name never opens a file outside of the cache.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, NamedTuple

from gencli.errors import RunError, UsageError
from gencli.formats import check_links, format_of
from gencli.formats._gguf_names import first_of, is_later_part

MAIN = "main"
COMMIT = re.compile(r"[0-9a-f]{40}")
SHORT = 8  # digits of a commit that a list shows; as many as are needed are understood
_NAME = re.compile(
    r"(?P<repo>[\w.-]+(?:/[\w.-]+)?)"
    r"(?:@(?P<revision>refs/\w+/\w+|[\w.-]+(?:/[\w.-]+)*?))?"
    r"(?:/(?P<file>[\w.+ -]+(?:/[\w.+ -]+)*\.gguf))?",
    re.ASCII,
)


class HubName(NamedTuple):
    """owner/name[@revision][/file.gguf], taken apart."""

    repo: str
    revision: str | None
    file: str | None

    @classmethod
    def read(cls, word: str) -> HubName | None:
        """The parts of a name; None for what cannot be one."""
        match = _NAME.fullmatch(word) if len(word) <= 500 else None
        if match is None or ".." in word or "--" in match["repo"]:
            return None
        return cls(match["repo"], match["revision"], match["file"])


def folder() -> Path:
    """Where huggingface_hub keeps what it fetched, by the same variables in the same order."""
    home = os.environ.get("XDG_CACHE_HOME", os.path.join("~", ".cache"))
    home = os.environ.get("HF_HOME", os.path.join(home, "huggingface"))
    stated = os.environ.get("HF_HUB_CACHE", os.environ.get("HUGGINGFACE_HUB_CACHE", os.path.join(home, "hub")))
    return Path(os.path.expandvars(os.path.expanduser(stated)))


def repo_folder(repo: str) -> Path:
    """Where the cache keeps a model's repository."""
    return folder() / "--".join(("models", *repo.split("/")))


class Hub:
    """Models by owner/name; @revision is a branch, a tag, or the beginning of a commit."""

    place: ClassVar[int] = 30

    def entries(self) -> Iterator[tuple[str, Path]]:
        place = os.fspath(folder())
        try:
            repos = sorted(name for name in os.listdir(place) if name.startswith("models--"))
        except OSError:
            return
        for repo in repos:
            name = "/".join(repo.split("--")[1:])
            try:
                for label, snapshot in _snapshots(f"{place}/{repo}"):
                    yield from ((f"{name}{label}{file}", path) for file, path in _checkpoints(Path(snapshot)))
            except (OSError, RunError):
                continue

    def find(self, word: str) -> Path | None:
        name = HubName.read(word)
        if name is None:
            return None
        repo = repo_folder(name.repo)
        try:
            snapshot = _snapshot(repo, name.revision or MAIN)
            if snapshot is None:
                return None
            if name.file is not None:
                place = snapshot / name.file if name.file in _files(os.fspath(snapshot)) else None
            else:
                found = dict(_checkpoints(snapshot))
                if found and "" not in found:
                    choices = ", ".join(f"{word}{file}" for file in found)
                    raise UsageError(f"{word} holds several checkpoints; name one of them. Choices: {choices}.")
                place = found.get("")
            if place is not None and not place.is_dir():
                check_links(place.parent, [place])
        except OSError as error:
            raise RunError(f"{repo} cannot be read: {error.strerror or error}.") from error
        return place


def _snapshots(repo: str) -> Iterator[tuple[str, str]]:
    """("", snapshot) of the main branch, and ("@revision", snapshot) of every other one that is there."""
    refs = {name: _commit(f"{repo}/refs/{name}") for name in sorted(_files(f"{repo}/refs"))}
    held = sorted(os.listdir(f"{repo}/snapshots"))
    main = refs.pop(MAIN, None)
    told = set()
    for label, commit in (("", main), *((f"@{ref}", commit) for ref, commit in refs.items())):
        if commit in held and commit not in told:
            told.add(commit)
            yield label, f"{repo}/snapshots/{commit}"
    yield from ((f"@{commit[:SHORT]}", f"{repo}/snapshots/{commit}") for commit in held if commit not in told and COMMIT.fullmatch(commit))


def _snapshot(repo: Path, revision: str) -> Path | None:
    """The snapshot of a branch, a tag or the beginning of a commit, if it is there."""
    commit = _commit(f"{repo}/refs/{revision}")
    if commit is None:
        if not re.fullmatch(r"[0-9a-f]{7,40}", revision):
            return None
        try:
            begun = [each.name for each in (repo / "snapshots").iterdir() if each.name.startswith(revision)]
        except FileNotFoundError:
            return None
        commit = begun[0] if len(begun) == 1 else None
    snapshot = repo / "snapshots" / commit if commit else None
    return snapshot if snapshot is not None and snapshot.is_dir() else None


def _commit(ref: str) -> str | None:
    """The commit that a ref holds."""
    try:
        with open(ref, "rb", buffering=0) as file:
            text = file.read(64).decode("ascii", "replace").strip()
    except OSError:
        return None
    return text if COMMIT.fullmatch(text) else None


def _checkpoints(snapshot: Path) -> list[tuple[str, Path]]:
    """("", place) of a snapshot's checkpoint; where there are several GGUF files instead, ("/file", place) of each."""
    names = list(_files(os.fspath(snapshot)))
    top = [name for name in names if "/" not in name]
    if first_of(top) is None and format_of(snapshot, top) is not None:
        return [("", snapshot)]
    files = sorted(name for name in names if name.endswith(".gguf") and not is_later_part(name))
    return [("", snapshot / files[0])] if len(files) == 1 else [(f"/{name}", snapshot / name) for name in files]


def _files(folder: str) -> Iterator[str]:
    """The names of all files in a folder and those below it, as they stand there: none is opened or asked for, no link followed."""
    below = [""]
    while below:
        before = below.pop()
        try:
            with os.scandir(f"{folder}/{before}") as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        below.append(f"{before}{entry.name}/")
                    else:
                        yield before + entry.name
        except (FileNotFoundError, NotADirectoryError):
            continue
