"""The fingerprint of a checkpoint: what `sha256sum` says, remembered, in the background, never in the way."""

from __future__ import annotations

import hashlib
import os
import subprocess

import pytest

from gencli.fingerprint import Fingerprint, checkpoint_files


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gencli" / "sha256"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 40_000)
    (folder / "config.json").write_text("{}")
    (folder / "README.md").write_text("a card")
    (folder / "more.json").mkdir()
    return folder


def test_the_files_are_weights_settings_and_tokenizer(folder):
    assert [file.name for file in checkpoint_files(folder)] == ["config.json", "model.safetensors"]
    assert checkpoint_files(folder / "README.md") == [folder / "README.md"]


def test_it_is_what_sha256sum_says(folder):
    found = Fingerprint(checkpoint_files(folder)).wait()
    told = subprocess.run(["sha256sum", "config.json", "model.safetensors"], cwd=folder, capture_output=True, check=True).stdout
    assert {name: digest for digest, name in (line.split() for line in told.decode().splitlines())} == found.files
    assert found.sha256 == hashlib.sha256(told).hexdigest()


def test_a_file_that_did_not_change_is_not_read_again(folder, cache):
    first = Fingerprint(checkpoint_files(folder)).wait()
    assert len(list(cache.iterdir())) == 2
    for entry in cache.iterdir():
        entry.write_text("a" * 64)
    again = Fingerprint(checkpoint_files(folder)).wait()
    assert set(again.files.values()) == {"a" * 64}
    assert Fingerprint(checkpoint_files(folder), anew=True).wait() == first  # unless somebody wants to be sure
    weights = folder / "model.safetensors"
    os.utime(weights, ns=(0, 12345))
    assert Fingerprint(checkpoint_files(folder)).wait().files[weights.name] == first.files[weights.name]


def test_a_damaged_cache_is_no_cache(folder, cache):
    first = Fingerprint(checkpoint_files(folder)).wait()
    for entry in cache.iterdir():
        entry.write_bytes(b"\xff" * 64)
    assert Fingerprint(checkpoint_files(folder)).wait() == first


def test_a_cache_that_cannot_be_written_is_ignored(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert Fingerprint(checkpoint_files(folder)).wait() is not None


def test_a_relative_cache_folder_is_ignored(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    Fingerprint(checkpoint_files(folder)).wait()
    assert not (tmp_path / "relative").exists()
    assert (tmp_path / "home" / ".cache" / "gencli" / "sha256").is_dir()


def test_a_file_that_went_away_leaves_no_fingerprint(folder):
    files = checkpoint_files(folder)
    (folder / "config.json").unlink()
    assert Fingerprint(files).wait() is None


def test_who_cancels_does_not_wait(folder):
    with open(folder / "model.safetensors", "r+b") as file:
        file.truncate(1 << 33)  # eight gigabytes of nothing
    fingerprint = Fingerprint(checkpoint_files(folder))
    fingerprint.cancel()
    assert fingerprint.wait() is None
