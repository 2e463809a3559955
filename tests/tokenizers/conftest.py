"""The embedded tokenizer and the real ones beside their oracle, and folders with a tokenizer.json of the test's own."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gencli.tokenizers._patterns import PATTERNS
from tokenizing import ODD, Pair, byte_level_json, trained_merges


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


@pytest.fixture(scope="session")
def published_pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pair]:
    """A tokenizer.json in the form that Llama 3 or Qwen 2 publishes, its merges trained here."""
    lines = [*Path(argparse.__file__).read_text().splitlines(keepends=True), *("".join(ODD[at:]) for at in range(len(ODD)))]

    def make(name: str) -> Pair:
        merges = trained_merges(lines, PATTERNS[name], 1500)
        special, ordinary = {
            "llama3": (["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>"], []),
            "qwen2": (["<|endoftext|>", "<|im_start|>", "<|im_end|>"], ["<tool_call>", "</think>"]),
        }[name]
        size = len(byte_level_json(merges)["model"]["vocab"])
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        listed = [(content, True) for content in special] + [(content, False) for content in ordinary]
        added = [{"id": size + at, "content": content, "special": kind, **flags} for at, (content, kind) in enumerate(listed)]
        data = byte_level_json(
            merges, pattern=PATTERNS[name], added_tokens=added, ignore_merges=name == "llama3",
            normalizer={"type": "NFC"} if name == "qwen2" else None,
        )  # fmt: skip
        folder = tmp_path_factory.mktemp(name)
        (folder / "tokenizer.json").write_text(json.dumps(data), encoding="utf-8")
        return Pair(folder)

    return make


@pytest.fixture(scope="session")
def llama3_pair(published_pair: Callable[[str], Pair]) -> Pair:
    return published_pair("llama3")


@pytest.fixture(scope="session")
def qwen2_pair(published_pair: Callable[[str], Pair]) -> Pair:
    return published_pair("qwen2")
