"""What `gencli checkpoints pull` does: the files that a run needs, from the hub into its cache. Knows no terminal.

Nothing that the hub says is taken as a path: names, digests and commits are checked before anything is written.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gencli.errors import RunError, UsageError, shown, sized, unknown
from gencli.fetching import DIGEST, Remote, fetch, is_there, refuse_a_full_disk, told_plainly
from gencli.formats import read_json
from gencli.formats._gguf_names import is_later_part, with_parts
from gencli.models import family
from gencli.stores.hub import COMMIT, MAIN, HubName, repo_folder

TIMEOUT = 30.0  # seconds for the list of files
SMALL = 1 << 27  # bytes: no tokenizer and no card is larger
BESIDE = (
    *("config.json", "generation_config.json", "tokenizer*", "*.tiktoken", "*.model", "vocab.*", "merges.txt"),
    *("special_tokens_map.json", "added_tokens.json", "chat_template.*", "README.md", "LICENSE*"),
)
WEIGHTS = (("model", "safetensors"), ("pytorch_model", "bin"))  # the better one first
TRUE = ("1", "ON", "YES", "TRUE")  # as huggingface_hub reads its variables
_SAFE = re.compile(r"(?!\.\.?(/|$))[\w.+ -]+(/(?!\.\.?(/|$))[\w.+ -]+)*", re.ASCII)


Told = Callable[[str, int, int], object]


class Pulled(NamedTuple):
    """What was pulled: the name by which it is found, its place, its files, and how many bytes came now."""

    name: str
    path: Path
    files: int
    fetched: int


def pull(word: str, file: str | None = None, told: Told = lambda *_: None) -> Pulled:
    """Fetch owner/name[@revision], or one GGUF `file` of it; what the cache holds already is not fetched again.

    `told` hears what is done, how many bytes are there and how many there will be. Raises `UsageError`
    for a name, revision or file that is not there, `RunError` for all that goes wrong on the way, and
    before any weights are fetched for a model that gencli cannot run or a disk that cannot hold it.
    """
    asked = HubName.read(word)
    if asked is None:
        raise UsageError(f"{shown(word)} is no name of the hub's; one looks like owner/name or owner/name@revision.")
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in TRUE:
        raise RunError("HF_HUB_OFFLINE is set, so nothing is fetched; unset it to pull.")
    from huggingface_hub import constants

    constants.HF_HUB_DISABLE_TELEMETRY = True  # the hub is asked for files, and told nothing else
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # what it would warn of, we say in a sentence
    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    with told_plainly(asked.repo, endpoint):
        commit, listed = _listing(asked, endpoint)
        file = file or asked.file
        chosen = needed(asked.repo, {name: size if type(size) is int else 0 for name, size, _ in listed}, file)
        files = [_remote(asked.repo, commit, endpoint, *each) for each in listed if each[0] in chosen]
        fetched = _into_the_cache(asked, commit, files, told)
    snapshot = repo_folder(asked.repo) / "snapshots" / commit
    parts = [asked.repo, f"@{asked.revision}" if asked.revision else ""]
    if file is not None:
        parts += ["/", min(name for name in chosen if name.endswith(".gguf"))]
    return Pulled("".join(parts), snapshot, len(files), fetched)


def _listing(asked: HubName, endpoint: str) -> tuple[str, list[tuple[str, int | None, str | None]]]:
    """The commit that a revision is, and its files: name, size and digest as far as the hub tells them."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint, library_name="gencli")
    try:
        found = api.model_info(asked.repo, revision=asked.revision or MAIN, files_metadata=True, timeout=TIMEOUT)
        commit, files = found.sha, found.siblings or []
        listed = [(f.rfilename, f.lfs.size if f.lfs else f.size, f.lfs.sha256 if f.lfs else f.blob_id) for f in files]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{endpoint} answered with something that is no list of files; it is no hub, or it is out of order.") from error
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        raise RunError(f"{endpoint} says that {asked.repo} is at the commit {shown(commit)}, which is none; nothing was fetched.")
    return commit, [each for each in listed if isinstance(each[0], str)]


def needed(repo: str, sizes: Mapping[str, int], file: str | None = None) -> set[str]:
    """The files of a repository that a run needs: weights in the best form there is, and what stands beside them.

    Raises `UsageError` where GGUF files leave a choice, `RunError` where there are no weights that are read.
    """
    beside = {name for name, size in sizes.items() if size <= SMALL and any(fnmatchcase(name, each) for each in BESIDE)}
    beside = {name for name in beside if "/" not in name}
    gguf = sorted(name for name in sizes if name.endswith(".gguf") and not is_later_part(name))
    if file is not None:
        return beside | _whole(repo, _one_of(repo, file, gguf), sizes)
    for stem, ending in WEIGHTS:
        whole = f"{stem}.{ending}"
        if whole in sizes:
            return beside | {whole}
        parts = {name for name in sizes if re.fullmatch(rf"{stem}-\d{{5}}-of-\d{{5}}\.{ending}", name)}
        if parts and f"{whole}.index.json" in sizes:
            return beside | parts | {f"{whole}.index.json"}
    if len(gguf) == 1:
        return beside | _whole(repo, gguf[0], sizes)
    if gguf:
        choices = ", ".join(f"{name} ({sized(sum(sizes.get(each, 0) for each in with_parts(name)))})" for name in gguf)
        raise UsageError(f"{repo} holds several checkpoints; choose one with --file. Choices: {choices}.")
    kinds = ", ".join(f"{stem}.{ending}" for stem, ending in WEIGHTS)
    raise RunError(f"{repo} holds no weights that gencli reads ({kinds} or a .gguf file); nothing was fetched.")


def _whole(repo: str, name: str, names: Collection[str]) -> set[str]:
    """A file, or all files of a model in parts."""
    parts = with_parts(name)
    if missing := [part for part in parts if part not in names]:
        raise RunError(f"{repo} lacks {shown(missing[0])}, one of the {len(parts)} parts of {shown(name)}; nothing was fetched.")
    return set(parts)


def _one_of(repo: str, word: str, files: Sequence[str]) -> str:
    """The file of this name, or the only one whose name holds the word."""
    found = [name for name in files if name == word] or [name for name in files if word.casefold() in name.casefold()]
    if len(found) != 1 or not word:
        raise unknown(f"GGUF file of {repo} that is", word, found if len(found) > 1 else files)
    return found[0]


def _remote(repo: str, commit: str, endpoint: str, name: str, size: int | None, digest: str | None) -> Remote:
    """A file with its address; the hub is asked for size and digest where its list does not tell them."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    if not _SAFE.fullmatch(name):
        raise RunError(f"{repo} lists a file {shown(name)}, which would not lie in its folder; nothing was fetched.")
    url = hf_hub_url(repo, name, revision=commit, endpoint=endpoint)
    if size is None or digest is None:
        told = get_hf_file_metadata(url, timeout=TIMEOUT, endpoint=endpoint, library_name="gencli")
        size, digest = told.size, told.etag
    if type(size) is not int or size < 0 or not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise RunError(f"{endpoint} tells of {shown(name)} the size {shown(size)} and the digest {shown(digest)}, which cannot be.")
    return Remote(name, size, digest, url)


def _into_the_cache(asked: HubName, commit: str, files: Sequence[Remote], told: Told) -> int:
    """Fetch what is not there, small files first, and give it its names; returns the bytes that came."""
    repo = repo_folder(asked.repo)
    blobs, snapshot = repo / "blobs", repo / "snapshots" / commit
    missing = [each for each in files if not is_there(each, blobs)]
    refuse_a_full_disk(blobs, sum(each.size - _partly(each, blobs) for each in missing))
    total = sum(each.size for each in files)
    done, fetched = total - sum(each.size for each in missing), 0
    for each in sorted(files, key=lambda each: (each.name != "config.json", each.size)):
        if each in missing and not is_there(each, blobs):  # two names may have one content
            fetched += fetch(each, blobs, partial(_tell, told, each.name, done, total))
            done += each.size
        _link(blobs / each.digest, snapshot / each.name)
        if each.name == "config.json":
            _refuse_what_cannot_run(asked.repo, snapshot / each.name)
    if not commit.startswith(asked.revision or MAIN):
        _write_ref(repo / "refs" / (asked.revision or MAIN), commit)
    return fetched


def _tell(told: Told, name: str, before: int, total: int, doing: str, count: int) -> None:
    told(f"{doing} {name}", before + count, total)


def _partly(file: Remote, blobs: Path) -> int:
    try:
        return min(file.size, (blobs / f"{file.digest}.incomplete").stat().st_size)
    except OSError:
        return 0


def _refuse_what_cannot_run(repo: str, config: Path) -> None:
    try:
        settings: dict[str, Any] = read_json(config)
        family(settings).describe(settings)
    except RunError as error:
        raise RunError(f"{repo} cannot be run by gencli, so its weights are not fetched: {error}") from error


def _link(blob: Path, place: Path) -> None:
    """Give a blob a name in a snapshot, as a relative link, or as a copy where there are no links."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists() and place.samefile(blob):
        return
    place.unlink(missing_ok=True)
    try:
        place.symlink_to(os.path.relpath(blob, place.parent))
    except OSError:
        shutil.copyfile(blob, place)


def _write_ref(ref: Path, commit: str) -> None:
    """Written whole or not at all, and last: a name means a snapshot once that is complete."""
    ref.parent.mkdir(parents=True, exist_ok=True)
    beside = ref.with_name(f"{ref.name}.{os.getpid()}")
    beside.write_text(commit, "ascii")
    os.replace(beside, ref)
