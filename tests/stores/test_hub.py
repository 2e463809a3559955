"""The hub's cache, read from disk: the layout that huggingface_hub writes, and what must not be followed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gencli.catalogue import find_checkpoint
from gencli.errors import RunError, UsageError
from gencli.formats import open_checkpoint
from gencli.stores.hub import Hub, HubName, folder

ONE, TWO = "1" * 40, "2" * 40
FILES = ("config.json", "model.safetensors")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put(cache: Path, repo: str, commit: str, *files: str, refs: tuple[str, ...] = ("main",)) -> Path:
    """A repository in the cache, as huggingface_hub lays it out: links to blobs."""
    place = cache / f"models--{repo.replace('/', '--')}"
    snapshot = place / "snapshots" / commit
    (place / "blobs").mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(files):
        blob = place / "blobs" / f"{commit[:8]}{number}"
        blob.write_bytes(b"{}")
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    for ref in refs:
        (place / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (place / "refs" / ref).write_text(commit)
    return snapshot


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("owner/name", ("owner/name", None, None)),
        ("gpt2", ("gpt2", None, None)),
        ("owner/name@v1.0", ("owner/name", "v1.0", None)),
        ("owner/name@refs/pr/3", ("owner/name", "refs/pr/3", None)),
        ("owner/name/model-Q4_K_M.gguf", ("owner/name", None, "model-Q4_K_M.gguf")),
        ("owner/name@v1/sub/a.gguf", ("owner/name", "v1", "sub/a.gguf")),
        ("owner/name@refs/pr/3/a.gguf", ("owner/name", "refs/pr/3", "a.gguf")),
    ],
)
def test_a_name_is_taken_apart(word, parts):
    assert HubName.read(word) == parts


@pytest.mark.parametrize(
    "word", ["", "a/b/c", "owner//x.gguf", "owner/..", "../name", "owner/name@../../x", "owner/name/../a.gguf", "a--b/c", "a b/c", "a/b@"]
)
def test_what_can_be_no_name_is_none(word):
    assert HubName.read(word) is None
    assert Hub().find(word) is None


def test_the_folder_is_the_one_that_huggingface_hub_uses(tmp_path):
    program = """
import importlib, json, os, sys
from huggingface_hub import constants
from gencli.stores.hub import folder
told = []
for variables in json.loads(sys.argv[1]):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        os.environ.pop(name, None)
    os.environ.update(variables)
    told.append([str(folder()), importlib.reload(constants).HF_HUB_CACHE])
print(json.dumps(told))
"""
    settings = [
        {},
        {"XDG_CACHE_HOME": "/x"},
        {"XDG_CACHE_HOME": "/x", "HF_HOME": "~/hf"},
        {"HF_HOME": "/hf", "HUGGINGFACE_HUB_CACHE": "/old"},
        {"HF_HOME": "/hf", "HUGGINGFACE_HUB_CACHE": "/old", "HF_HUB_CACHE": "$HOME/new"},
    ]
    environment = {**os.environ, "HOME": str(tmp_path)}
    told = subprocess.run([sys.executable, "-c", program, json.dumps(settings)], env=environment, check=True, capture_output=True).stdout
    ours, theirs = zip(*json.loads(told), strict=True)
    assert ours == theirs
    assert len(set(ours)) == len(settings)


def test_main_branches_tags_and_commits_have_names(cache):
    main = put(cache, "owner/name", ONE, *FILES)
    tagged = put(cache, "owner/name", TWO, *FILES, refs=("v1", "refs/pr/3"))
    bare = put(cache, "gpt2", TWO, *FILES, refs=())
    assert list(Hub().entries()) == [
        ("gpt2@22222222", bare),
        ("owner/name", main),
        ("owner/name@refs/pr/3", tagged),
    ]
    find = Hub().find
    assert find("owner/name") == find("owner/name@main") == find(f"owner/name@{ONE}") == find("owner/name@1111111") == main
    assert find("owner/name@v1") == find("owner/name@refs/pr/3") == tagged
    assert find("gpt2@22222222") == bare
    assert find("gpt2") is None  # a pinned commit is not what the name without it means
    assert find("owner/other") is find("owner/name@v2") is find("owner/name@3333333") is None


def test_what_is_no_checkpoint_has_no_name(cache):
    put(cache, "owner/tokenizer-only", ONE, "config.json", "tokenizer.json")
    put(cache, "owner/broken-ref", ONE, *FILES)
    (cache / "models--owner--broken-ref" / "refs" / "main").write_text("../../../x")
    (cache / "models--owner--nothing").mkdir()
    (cache / "datasets--owner--data").mkdir()
    assert [name for name, _ in Hub().entries()] == ["owner/broken-ref@11111111"]
    for name in ("tokenizer-only", "broken-ref", "nothing", "data"):
        assert Hub().find(f"owner/{name}") is None


def test_no_cache_is_an_empty_one(cache):
    assert list(Hub().entries()) == []
    assert Hub().find("owner/name") is None


def test_one_gguf_file_is_the_checkpoint_and_several_leave_a_choice(cache):
    one = put(cache, "owner/one", ONE, "README.md", "one.gguf")
    several = put(cache, "owner/several", ONE, "b-Q8_0.gguf", "a-Q4_0.gguf", "big-00001-of-00002.gguf", "big-00002-of-00002.gguf")
    assert dict(Hub().entries()) == {
        "owner/one": one / "one.gguf",
        "owner/several/a-Q4_0.gguf": several / "a-Q4_0.gguf",
        "owner/several/b-Q8_0.gguf": several / "b-Q8_0.gguf",
        "owner/several/big-00001-of-00002.gguf": several / "big-00001-of-00002.gguf",
    }
    assert Hub().find("owner/several/b-Q8_0.gguf") == several / "b-Q8_0.gguf"
    assert Hub().find("owner/several/none.gguf") is None
    with pytest.raises(UsageError, match=r"holds several checkpoints; name one of them. Choices: owner/several/a-Q4_0.gguf, owner"):
        Hub().find("owner/several")


def test_a_list_of_many_opens_one_file_a_model_and_asks_for_none(cache, monkeypatch):
    """So that the shell's completion does not wait: folders are listed once each, and only refs are read."""
    for number in range(30):
        put(cache, f"owner/{number}", ONE, *FILES, "tokenizer.json", "onnx/model.onnx", *(f"model-{part}.safetensors" for part in range(9)))
        put(cache, f"owner/gguf-{number}", ONE, *(f"m-Q{bits}.gguf" for bits in range(2, 9)))
    counts = dict.fromkeys(("stat", "lstat", "scandir", "listdir"), 0)
    for name in counts:
        real = getattr(os, name)

        def counted(*args, _name=name, _real=real, **options):
            counts[_name] += 1
            return _real(*args, **options)

        monkeypatch.setattr(os, name, counted)
    assert len(list(Hub().entries())) == 30 * 8
    assert counts["stat"] + counts["lstat"] == 0
    assert counts["scandir"] + counts["listdir"] <= 60 * 3 + 30 + 1  # refs, snapshots and what is in them; once a folder below


@pytest.mark.parametrize(
    "target", ["/etc/hostname", "../../../../../secret", "../../blobs/../../models--owner--other/blobs/x", "../../refs/main"]
)
def test_a_link_out_of_the_repository_is_refused(cache, tmp_path, target):
    (tmp_path / "secret").write_text("x")
    snapshot = put(cache, "owner/name", ONE, *FILES)
    (snapshot / "tokenizer.json").symlink_to(target)
    with pytest.raises(RunError, match=r"tokenizer.json is a link that leads out of its repository, and is not followed"):
        open_checkpoint(find_checkpoint("owner/name"))


@pytest.mark.parametrize("file", ["a.gguf", "sub/a.gguf"])
def test_a_file_that_is_a_link_out_of_the_repository_is_refused(cache, tmp_path, file):
    (tmp_path / "secret.gguf").write_bytes(b"GGUF")
    snapshot = put(cache, "owner/name", ONE, "b.gguf")
    (snapshot / file).parent.mkdir(exist_ok=True)
    (snapshot / file).symlink_to(tmp_path / "secret.gguf")
    with pytest.raises(RunError, match=r"a.gguf is a link that leads out of its repository, and is not followed"):
        Hub().find(f"owner/name/{file}")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "c.gguf").write_bytes(b"GGUF")
    (snapshot / "linked").symlink_to(tmp_path / "folder")
    assert Hub().find("owner/name/linked/c.gguf") is None
    assert Hub().find("owner/name/b.gguf") == snapshot / "b.gguf"


def test_a_blob_may_lie_in_the_caches_shared_store_and_nowhere_else(cache, tmp_path):
    snapshot = put(cache, "owner/name", ONE, *FILES)
    shared = cache / "blobs" / "ab" / "abcd"
    shared.parent.mkdir(parents=True)
    shared.write_bytes(b"{}")
    blob = (snapshot / "model.safetensors").resolve()
    blob.unlink()
    blob.symlink_to(os.path.relpath(shared, blob.parent))
    assert Hub().find("owner/name") == snapshot
    blob.unlink()
    blob.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_bytes(b"{}")
    with pytest.raises(RunError, match="leads out of its repository"):
        open_checkpoint(find_checkpoint("owner/name"))


def test_a_checkpoint_whose_blobs_are_shared_opens(cache, fable):
    """As huggingface_hub has laid out what it fetched by Xet since 2.4: snapshot -> the repository's blob -> the shared one."""
    snapshot = put(cache, "owner/name", ONE, *(file.name for file in fable.iterdir()))
    for number, file in enumerate(fable.iterdir()):
        blob, shared = (snapshot / file.name).resolve(), cache / "blobs" / "ab" / f"{number}"
        shared.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, shared)
        blob.unlink()
        blob.symlink_to(os.path.relpath(shared, blob.parent))
    assert open_checkpoint(find_checkpoint("owner/name")).bytes == (fable / "model.safetensors").stat().st_size


def test_a_cache_of_copies_is_read_too(cache):
    snapshot = put(cache, "owner/name", ONE, *FILES)
    for name in FILES:
        (snapshot / name).unlink()
        (snapshot / name).write_bytes(b"{}")
    assert Hub().find("owner/name") == snapshot


def test_a_moved_cache_is_read_where_it_lies(cache, tmp_path, monkeypatch):
    put(cache, "owner/name", ONE, *FILES)
    cache.rename(tmp_path / "moved")
    (tmp_path / "by-link").symlink_to(tmp_path / "moved")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "by-link"))
    assert Hub().find("owner/name") == folder() / "models--owner--name" / "snapshots" / ONE
