"""GGUF models in parts, as the package `gguf` splits them: the same tensors as in one file, and what is missing is named."""

from __future__ import annotations

import os
import re
import shutil
import struct
import time
from pathlib import Path

import pytest
import torch
from gguf import GGUFReader
from hypothesis import given
from hypothesis import strategies as st

from gencli.catalogue import find_checkpoint
from gencli.conversion import convert
from gencli.description import describe
from gencli.errors import RunError
from gencli.fingerprint import checkpoint_files
from gencli.formats import open_checkpoint
from gencli.formats._gguf_names import MOST_PARTS, is_later_part, stem_of, with_parts
from gencli.stores.yours import Yours
from weights import logits, random_folder, split


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, fable: Path) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    convert(open_checkpoint(random_folder(folder / "folder", fable, tie_word_embeddings=False)), folder / "whole.gguf", "gguf", "q8_0")
    return folder / "whole.gguf"


@pytest.mark.parametrize(("tensors", "lone"), [(5, False), (9, True), (1, False)])
def test_the_parts_are_the_whole_tensor_for_tensor(tmp_path: Path, whole: Path, tensors: int, lone: bool) -> None:
    parts = split(whole, tmp_path / "model.gguf", tensors, lone)
    assert len(parts) == -(-len(GGUFReader(whole).tensors) // tensors) + lone > 2
    expected = open_checkpoint(whole)
    for path in (parts[0], parts[1], parts[-1], tmp_path):
        found = open_checkpoint(path)
        assert (found.config, found.generation_config, found.vocabulary) == (
            expected.config,
            expected.generation_config,
            expected.vocabulary,
        )
        assert (found.headers, found.stored) == (expected.headers, expected.stored)
        assert all(torch.equal(found.tensors[name], expected.tensors[name]) for name in expected.headers)
        assert found.bytes == sum(part.stat().st_size for part in parts)
        assert found.name == ("model" if path.is_file() else tmp_path.name)
    assert torch.equal(logits(parts[0]), logits(whole))


@pytest.fixture
def parts(tmp_path: Path, whole: Path) -> list[Path]:
    return split(whole, tmp_path / "model.gguf", 6)


def test_a_part_that_is_missing_is_named(tmp_path: Path, parts: list[Path]) -> None:
    assert len(parts) == 4
    parts[2].unlink()
    missing = r"is one of 4 parts of a checkpoint, and 'model-00003-of-00004\.gguf' is missing beside it\.$"
    for path in (parts[0], parts[3], tmp_path):
        with pytest.raises(RunError, match=missing):
            open_checkpoint(path)
    parts[1].unlink()
    with pytest.raises(RunError, match=r"'model-00002-of-00004\.gguf', 'model-00003-of-00004\.gguf' are missing beside it\.$"):
        open_checkpoint(parts[0])
    parts[0].unlink()
    with pytest.raises(RunError, match=r"model-00001-of-00004.gguf"):
        open_checkpoint(tmp_path)


def test_a_part_under_another_name_says_how_parts_are_named(tmp_path: Path, parts: list[Path]) -> None:
    parts[1].rename(tmp_path / "second.gguf")
    with pytest.raises(RunError, match=r"second.gguf says that it is one of 4 parts, .* parts are named NAME-00001-of-00004.gguf"):
        open_checkpoint(tmp_path / "second.gguf")


def test_parts_that_do_not_belong_together_are_damaged(tmp_path: Path, whole: Path, parts: list[Path]) -> None:
    third = parts[2].read_bytes()
    shutil.copy(parts[1], parts[2])
    with pytest.raises(
        RunError, match=r"00003-of-00004.gguf is damaged: by its name it is part 3 of 4, and it says split.no 1 and split.count 4"
    ):
        open_checkpoint(parts[0])
    parts[2].write_bytes(third)
    second = parts[1].read_bytes()
    at = second.index(b"split.no") + len(b"split.no") + 4
    parts[2].write_bytes(second[:at] + (2).to_bytes(2, "little") + second[at + 2 :])
    with pytest.raises(RunError, match=r"00003-of-00004.gguf is damaged: the tensor .* stands in another part too"):
        open_checkpoint(parts[0])
    data = parts[0].read_bytes()
    at = data.index(b"split.tensors.count") + len(b"split.tensors.count") + 4
    parts[2].write_bytes(third)
    parts[0].write_bytes(data[:at] + (99).to_bytes(4, "little") + data[at + 4 :])
    with pytest.raises(RunError, match="says that the parts hold 99 tensors, and they hold"):
        open_checkpoint(parts[0])


def test_a_damaged_part_is_named(parts: list[Path]) -> None:
    with open(parts[3], "r+b") as file:
        file.truncate(parts[3].stat().st_size - 40)
    with pytest.raises(RunError, match=r"00004-of-00004.gguf is damaged"):
        open_checkpoint(parts[0])


def test_a_part_that_is_a_link_out_of_the_folder_is_not_followed(tmp_path: Path, parts: list[Path]) -> None:
    (tmp_path / "elsewhere").mkdir()
    parts[1].rename(tmp_path / "elsewhere" / "x")
    parts[1].symlink_to(tmp_path / "elsewhere" / "x")
    assert open_checkpoint(parts[0]).headers  # within
    moved = tmp_path.parent / f"{tmp_path.name}-out"
    (tmp_path / "elsewhere").rename(moved)
    parts[1].unlink()
    parts[1].symlink_to(moved / "x")
    for path in (parts[0], tmp_path):
        with pytest.raises(RunError, match=r"00002-of-00004.gguf is a link that leads out of its folder"):
            open_checkpoint(path)


def test_parts_in_the_hubs_cache_are_links_to_its_blobs(tmp_path: Path, parts: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    repo = tmp_path / "hub" / "models--owner--name"
    (repo / "blobs").mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("1" * 40)
    (repo / "snapshots" / ("1" * 40) / "Q8_0").mkdir(parents=True)
    for number, part in enumerate(parts):
        part.rename(repo / "blobs" / f"{number}")
        (repo / "snapshots" / ("1" * 40) / "Q8_0" / part.name).symlink_to(f"../../../blobs/{number}")
    found = open_checkpoint(find_checkpoint("owner/name"))
    assert found.headers
    assert open_checkpoint(find_checkpoint(f"owner/name/Q8_0/{parts[1].name}")).headers == found.headers


def test_yours_are_named_once(tmp_path: Path, parts: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    place = tmp_path / "gencli" / "checkpoints"
    (place / "folder").mkdir(parents=True)
    for part in parts:
        shutil.copy(part, place)
        part.rename(place / "folder" / part.name)
    assert [name for name, _ in Yours().entries()] == ["folder", "model"]
    for name in ("folder", "model"):
        found = open_checkpoint(find_checkpoint(name))
        assert (found.name, describe(found)["from"]) == (name, "yours")


def test_all_parts_are_hashed(tmp_path: Path, parts: list[Path]) -> None:
    for path in (parts[0], parts[2], tmp_path):
        assert checkpoint_files(path) == parts
    parts[1].unlink()
    assert checkpoint_files(parts[0]) == [parts[0]]


def test_a_folder_of_several_models_says_which(tmp_path: Path, parts: list[Path], whole: Path) -> None:
    shutil.copy(whole, tmp_path / "whole.gguf")
    with pytest.raises(RunError, match=re.escape("holds several; name one of its files. Choices: 'model-00001-of-00004.gguf', ")):
        open_checkpoint(tmp_path)
    for part in parts:
        part.unlink()
    assert open_checkpoint(tmp_path).name == tmp_path.name


@given(stem=st.text(min_size=1).filter(lambda stem: "/" not in stem), count=st.integers(1, 30), data=st.data())
def test_the_names_of_parts(stem: str, count: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(1, count))
    name = f"{stem}-{number:05}-of-{count:05}.gguf"
    names = with_parts(name)
    assert (len(names), names[number - 1], stem_of(name), is_later_part(name)) == (count, name, stem, number > 1)
    assert all(with_parts(each) == names for each in names)
    assert with_parts(f"{stem}.gguf") == [f"{stem}.gguf"]


@pytest.mark.parametrize(
    "name", ["a.gguf", "a-00000-of-00002.gguf", "a-00003-of-00002.gguf", "a-1-of-2.gguf", "a-00001-of-99999.gguf", "a-00001-of-00002.bin"]
)
def test_what_is_no_part_stands_alone(name: str) -> None:
    assert with_parts(name) == [name]
    assert stem_of(name).startswith("a")


def test_a_forged_count_costs_nothing(tmp_path: Path, parts: list[Path]) -> None:
    data = parts[0].read_bytes()
    at = data.index(b"split.count") + len(b"split.count")
    assert data[at : at + 4] == (2).to_bytes(4, "little")  # a whole number of 16 bits
    forged = tmp_path / "model-00001-of-65535.gguf"
    forged.write_bytes(data[: at + 4] + (65535).to_bytes(2, "little") + data[at + 6 :])
    with pytest.raises(RunError, match="one of 65535 parts, and its name does not tell the others"):
        open_checkpoint(forged)
    os.replace(forged, parts[0])
    with pytest.raises(RunError, match="does not tell the others"):
        open_checkpoint(parts[0])


def test_a_thousand_parts_that_say_too_much_are_refused_at_once(tmp_path: Path, parts: list[Path]) -> None:
    """A list of two million empty texts is sixteen megabytes of zeros, and of a sparse file they cost nobody anything.

    The first part's is read; told beside a plain loop over as many lengths, for a busy machine. All parts' would take a thousandfold.
    """

    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    def setting(key: bytes, value: int) -> bytes:
        return text(key) + struct.pack("<IH", 2, value)

    for number in range(MOST_PARTS):
        part = tmp_path / f"many-{number + 1:05}-of-{MOST_PARTS:05}.gguf"
        own = setting(b"split.no", number) + setting(b"split.count", MOST_PARTS)
        lists = text(b"x") + struct.pack("<IIQ", 9, 8, 1 << 21)
        with open(part, "wb") as file:
            file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, 3) + own + lists)
            file.truncate(file.tell() + (8 << 21) + 64)
    began = time.process_time()
    assert sum(struct.unpack_from("<Q", bytes(8), 0)[0] for _ in range(1 << 21)) == 0
    plain, began = time.process_time() - began, time.process_time()
    with pytest.raises(RunError, match=r"many-00002-of-01000.gguf is damaged: a list of 2097152 texts is too long"):
        open_checkpoint(tmp_path / "many-00001-of-01000.gguf")
    spent = time.process_time() - began
    assert spent < 3 * plain
