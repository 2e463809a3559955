"""The embedded tokenizer and the real ones beside their oracle, and folders with a tokenizer.json of the test's own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokenizing import Pair


@pytest.fixture
def folder_with(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tokenizer.json (a dict, or text) and perhaps a tokenizer_config.json into a folder."""

    def write(data: dict[str, Any] | str, config: dict[str, Any] | None = None) -> Path:
        (tmp_path / "tokenizer.json").write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
        if config is not None:
            (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        return tmp_path

    return write


@pytest.fixture(scope="session")
def real_folder(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a real tokenizer: "gpt2", "gpt-neox-20b", "phi-3" or "stories260k"."""

    def find(name: str) -> Path:
        if name == "stories260k":
            return real_data / name
        folder = tmp_path_factory.mktemp(name)
        shutil.copy(real_data / "tokenizers" / f"{name}.tokenizer.json", folder / "tokenizer.json")
        return folder

    return find


@pytest.fixture(scope="session")
def fable_pair(fable: Path) -> Pair:
    return Pair(fable)


@pytest.fixture(scope="session")
def gpt2_pair(real_folder: Callable[[str], Path]) -> Pair:
    return Pair(real_folder("gpt2"))


@pytest.fixture(scope="session")
def neox_pair(real_folder: Callable[[str], Path]) -> Pair:
    return Pair(real_folder("gpt-neox-20b"))


@pytest.fixture(scope="session")
def stories_pair(real_folder: Callable[[str], Path]) -> Pair:
    return Pair(real_folder("stories260k"))


@pytest.fixture(scope="session")
def phi3_pair(real_folder: Callable[[str], Path]) -> Pair:
    return Pair(real_folder("phi-3"))
