"""The registry: folders are shelves, file names are names, and nothing else lists them."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from gencli.errors import UsageError
from gencli.registry import find, names

SHELVES = ["commands", "formats", "models", "precisions", "renderers", "stages", "strategies", "tokenizers"]


@pytest.mark.parametrize("shelf", SHELVES)
def test_names_are_the_files(root: Path, shelf: str) -> None:
    files = (root / "src" / "gencli" / shelf).glob("[!_]*.py")
    assert names(shelf) == tuple(sorted(file.stem for file in files))


@pytest.mark.parametrize(
    ("shelf", "name"), [(shelf, name) for shelf in ("formats", "models", "stages", "strategies") for name in names(shelf)]
)
def test_an_item_is_named_like_its_file(shelf: str, name: str) -> None:
    item = find(shelf, name)
    assert inspect.isclass(item)
    assert item.__module__ == f"gencli.{shelf}.{name}"
    assert re.sub(r"(?<!^)(?=[A-Z])", "_", item.__name__).lower() == name


def test_an_item_is_found_once() -> None:
    assert find("stages", "top_k") is find("stages", "top_k")


@pytest.mark.parametrize(
    ("shelf", "word", "sentence"),
    [
        ("stages", "topk", r"there is no stage 'topk'\. Did you mean 'top_k'\? Choices: .*temperature.*top_p"),
        ("strategies", "samples", r"there is no strategy 'samples'\. Did you mean 'sample'\? Choices: sample\."),
        ("stages", "__init__", r"there is no stage '__init__'\."),
        ("stages", "", r"there is no stage ''\. Choices: "),
        ("nowhere", "x", r"there is no nowhere 'x'\. There are none\."),
    ],
)
def test_an_unknown_name_lists_the_choices(shelf: str, word: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        find(shelf, word)


def test_a_private_file_is_no_item() -> None:
    assert not [name for shelf in SHELVES for name in names(shelf) if name.startswith("_")]
