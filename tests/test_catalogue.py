"""Names of checkpoints: the order of stores, what shadows what, and what an unknown name is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gencli.catalogue import Listed, checkpoint_names, find_checkpoint, listed, name_from, store_of
from gencli.errors import UsageError


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of checkpoints that is empty, whoever runs the tests; a cache of the hub beside it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data" / "gencli" / "checkpoints"


def put(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("{}")
    return folder


def test_a_name_is_yours_before_it_is_shipped_and_a_path_last(own, fable, tmp_path):
    assert find_checkpoint() == find_checkpoint("fable-6m") == fable
    assert listed() == [Listed("fable-6m", fable, "shipped", None)]
    local = put(tmp_path / "fable-6m")
    assert find_checkpoint("fable-6m") == fable
    assert find_checkpoint("./fable-6m") == local.relative_to(tmp_path)
    mine = put(own / "fable-6m")
    assert find_checkpoint("fable-6m") == mine
    assert listed() == [Listed("fable-6m", mine, "yours", None), Listed("fable-6m", fable, "shipped", "yours")]
    assert checkpoint_names() == ["fable-6m"]
    assert (store_of(mine), store_of(fable), store_of(local)) == ("yours", "shipped", None)
    local.rename(tmp_path / "other")
    assert find_checkpoint("other") == Path("other")


def test_a_path_with_a_slash_counts_before_a_name_of_the_hubs(own, tmp_path):
    snapshot = put(tmp_path / "hub" / "models--owner--name" / "snapshots" / ("1" * 40))
    refs = tmp_path / "hub" / "models--owner--name" / "refs"
    refs.mkdir()
    (refs / "main").write_text("1" * 40)
    assert find_checkpoint("owner/name") == snapshot
    assert (name_from("owner/name", snapshot), name_from("./a", Path("a")), name_from(None, tmp_path)) == ("owner/name", None, "fable-6m")
    local = put(tmp_path / "owner" / "name")
    assert find_checkpoint("owner/name") == local.relative_to(tmp_path)
    shutil.rmtree(local)
    with pytest.raises(UsageError, match=r"no checkpoint at './owner/name'. Choices: fable-6m, owner/name"):
        find_checkpoint("./owner/name")


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("fable-6n", "there is no checkpoint 'fable-6n'. Did you mean 'fable-6m'? Choices: fable-6m."),
        ("", "there is no checkpoint ''"),
        ("nul\0", "there is no checkpoint 'nul"),
        ("x" * 5000, "there is no checkpoint 'xxx"),
        ("./nowhere", "there is no checkpoint at './nowhere'."),
        ("~nobody/x", "there is no checkpoint at '~nobody/x'."),
        ("nul/\0", "there is no checkpoint at "),
        ("a/" * 5000, "there is no checkpoint at "),
        ("owner/name", "'owner/name' on this machine; `gencli checkpoints pull owner/name` would fetch it from the hub. Choices"),
        ("owner/name@v1", "`gencli checkpoints pull owner/name@v1` would fetch it"),
        ("owner/name/a.gguf", "`gencli checkpoints pull owner/name --file a.gguf` would fetch it"),
        ("some/fable-6m", "`gencli checkpoints pull some/fable-6m` would fetch it from the hub. Did you mean 'fable-6m'?"),
    ],
)
def test_an_unknown_checkpoint_is_wrong_usage(own, word, says):
    with pytest.raises(UsageError) as caught:
        find_checkpoint(word)
    assert says in str(caught.value)
    assert "fable-6m" in str(caught.value)
