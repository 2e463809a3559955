"""What every store must keep, and the two that are plain folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from gencli.registry import find, names
from gencli.stores import stores


def test_own_names_come_before_shipped_ones_and_fetched_ones_last():
    assert [name for name, _ in stores()] == ["yours", "shipped", "hub", "ollama"]


@pytest.mark.parametrize("name", names("stores"))
def test_a_store_finds_what_it_lists_and_nothing_else(name, tmp_path, monkeypatch):
    for variable in ("XDG_DATA_HOME", "HF_HUB_CACHE", "OLLAMA_MODELS"):
        monkeypatch.setenv(variable, str(tmp_path / "nothing"))
    store = find("stores", name)()
    for word, path in store.entries():
        assert store.find(word) == path
    for word in ("", "nul\0", "x" * 5000, "..", "/", "a/b", "a/b:c", "a:b@c", "\udcff"):
        assert store.find(word) is None


def test_yours_are_folders_and_files_by_their_names(fable: Path, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    folder = tmp_path / "gencli" / "checkpoints"
    for name in ("mine", "no checkpoint"):
        (folder / name).mkdir(parents=True)
    (folder / "mine" / "config.json").write_text("{}")
    (folder / "a file").touch()
    (folder / "linked").symlink_to(fable)
    yours = find("stores", "yours")()
    assert list(yours.entries()) == [("linked", folder / "linked"), ("mine", folder / "mine")]
    assert yours.find("mine") == folder / "mine"


def test_a_relative_data_folder_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    monkeypatch.setenv("HOME", str(tmp_path))
    own = tmp_path / ".local" / "share" / "gencli" / "checkpoints" / "mine"
    own.mkdir(parents=True)
    (own / "config.json").write_text("{}")
    assert find("stores", "yours")().find("mine") == own
