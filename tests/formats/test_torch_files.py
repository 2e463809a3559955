"""What torch.save wrote is read as torch reads it, without torch and without running its pickle."""

from __future__ import annotations

import io
import os
import pickle
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gencli.errors import RunError
from gencli.formats._mapped import mapped
from gencli.formats._torch_files import pieces_of, read_torch


def read(file: Path) -> dict[str, torch.Tensor]:
    return {name: mapped(piece, name) for name, piece in pieces_of(file, *read_torch(file)).items()}


KINDS = [
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_tensors_are_those_that_torch_loads(tmp_path: Path, kind: torch.dtype) -> None:
    base = (torch.randn(6, 8) * 9).to(kind)
    tensors = {
        "whole": base,
        "turned": base.t(),
        "part": base[1:4, 2:5],
        "number": base[0, 0],
        "none": base[:0],
        "row": base[2],
        "own": base.clone(),
    }
    file = tmp_path / "x.bin"
    torch.save(tensors, file)
    wanted = torch.load(file, weights_only=True, mmap=True)
    found = read(file)
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name], tensor)


def test_a_modules_state_and_parameters(tmp_path: Path) -> None:
    module = torch.nn.Linear(3, 2)
    for value in (module.state_dict(), dict(module.named_parameters())):
        torch.save(value, tmp_path / "x.bin")
        found = read(tmp_path / "x.bin")
        assert found.keys() == {"weight", "bias"}
        assert torch.equal(found["weight"], module.weight)


class Hostile:
    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.touched}",)


def archive(file: Path, data: bytes, method: int = zipfile.ZIP_STORED, **others: bytes) -> Path:
    with zipfile.ZipFile(file, "w", method) as out:
        out.writestr("x/data.pkl", data)
        for name, content in others.items():
            out.writestr(name.replace("__", "/"), content)
    return file


def test_a_pickle_with_code_runs_nothing(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    for protocol in range(6):
        torch.save({"w": Hostile(touched)}, tmp_path / "x.bin", pickle_protocol=max(2, protocol))
        with pytest.raises(RunError, match="which could run code"):
            read(tmp_path / "x.bin")
        archive(tmp_path / "y.bin", pickle.dumps(Hostile(touched), protocol))
        with pytest.raises(RunError, match="which could run code"):
            read(tmp_path / "y.bin")
    assert not touched.exists()


def test_what_torch_itself_would_allocate_is_refused(tmp_path: Path) -> None:
    data = b"\x80\x02cbuiltins\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85R."  # bytearray(2**40)
    with pytest.raises(RunError, match=r"asks for 'builtins.bytearray'"):
        read(archive(tmp_path / "x.bin", data))


STORAGE = (b"X\x07\0\0\0storage", b"ctorch\nFloatStorage\n", b"X\1\0\0\0" + b"0", b"X\3\0\0\0cpu", b"K\x04")


def tensor(shape: bytes = b"K\x04\x85", stride: bytes = b"K\x01\x85", offset: bytes = b"K\0", key: bytes = b"0") -> bytes:
    """A pickle of {"w": tensor} by hand."""
    storage = b"(" + b"".join((*STORAGE[:2], b"X\1\0\0\0" + key, *STORAGE[3:])) + b"tQ"
    return b"\x80\x02}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(" + storage + offset + shape + stride + b"\x89}tRs."


FORGED: dict[str, tuple[bytes, str]] = {
    "a shape beyond the storage": (tensor(shape=b"K\x05\x85"), "leaves its storage of 16 bytes"),
    "an offset beyond the storage": (tensor(offset=b"K\x01"), "leaves its storage"),
    "an endless offset": (tensor(offset=b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"), "a number is too large"),
    "a negative offset": (tensor(offset=b"J\xff\xff\xff\xff"), "no offset, shape and strides"),
    "a shape of 2^40 that repeats one number": (tensor(shape=b"\x8a\x06\0\0\0\0\0\1\x85", stride=b"K\0\x85"), "leaves its storage"),
    "a storage that is not there": (tensor(key=b"7"), "has no storage in the file"),
    "a shape that is text": (tensor(shape=b"X\1\0\0\0a\x85"), "no offset, shape and strides"),
    "too many strides": (tensor(stride=b"K\x01K\x01\x86"), "no offset, shape and strides"),
    "a dictionary as a tensor": (b"\x80\x02}X\1\0\0\0w}s.", "'w' is no tensor"),
    "a list": (b"\x80\x02].", "holds no dictionary of tensors"),
    "a number as a name": (b"\x80\x02}K\1}s.", "1 is no tensor's name"),
    "a name twice": (b"\x80\x02}(X\1\0\0\0wK\1X\1\0\0\0wK\2u.", "'w' stands in it twice"),
    "no end": (b"\x80\x02}", "damaged"),
    "an empty stack": (b"\x80\x020.", "asks for POP"),
    "nothing to set": (b"\x80\x02s.", "damaged"),
    "a memo that is not there": (b"\x80\x02h\x09.", "damaged"),
    "an endless text": (b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b"abc.", "damaged"),
    "an endless byte array": (b"\x80\x05\x96" + struct.pack("<Q", 1 << 60) + b"abc.", "damaged"),
    "a million steps": (b"\x80\x02" + b"]" * 1_000_000 + b".", "more than 200000 steps"),
    "an extension": (b"\x80\x02\x82\x01.", "asks for EXT1"),
}


@pytest.mark.parametrize("kind", FORGED)
def test_forged_pickles_are_refused(tmp_path: Path, kind: str) -> None:
    data, says = FORGED[kind]
    file = archive(tmp_path / "x.bin", data, x__data__0=bytes(16))
    start = time.process_time()
    with pytest.raises(RunError, match=says) as caught:
        read(file)
    assert str(caught.value).isprintable()
    assert time.process_time() - start < 2


def test_the_forged_ones_differ_from_one_that_is_read(tmp_path: Path) -> None:
    found = read(archive(tmp_path / "x.bin", tensor(), x__data__0=struct.pack("<4f", 1, 2, 3, 4)))
    assert found["w"].tolist() == [1, 2, 3, 4]


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    file = archive(tmp_path / "x.bin", b"}" * (1 << 24), zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 1 << 16
    with pytest.raises(RunError, match="is packed or locked in it, and is not unpacked"):
        read(file)


def test_archives_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "x.bin"
    for data in (b"", b"PK\5\6", b"PK\5\6" + bytes(18), b"PK\5\6" + b"\xff" * 18, pickle.dumps({}), b"PK\3\4" * 100):
        file.write_bytes(data)
        with pytest.raises(RunError, match="is damaged"):
            read(file)
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("x/data.pkl", pickle.dumps({}))
        with pytest.warns(UserWarning, match="Duplicate"):
            out.writestr("x/data.pkl", pickle.dumps({}))
    with pytest.raises(RunError, match="stands in it twice"):
        read(file)
    torch.save({"w": torch.zeros(3)}, file, _use_new_zipfile_serialization=False)
    with pytest.raises(RunError, match=r"before version 1.6 are not read"):
        read(file)


def test_an_overlap_is_refused(tmp_path: Path) -> None:
    file = archive(tmp_path / "x.bin", tensor(), x__data__0=bytes(16), x__data__1=bytes(16))
    data = bytearray(file.read_bytes())
    places = [at for at in range(len(data)) if data[at : at + 4] == b"PK\1\2"]
    data[places[2] + 42 : places[2] + 46] = data[places[1] + 42 : places[1] + 46]
    file.write_bytes(data)
    with pytest.raises(RunError, match="overlaps what stands before it"):
        read(file)


def _saved() -> bytes:
    out = io.BytesIO()
    torch.save({"w": torch.arange(6.0).view(2, 3), "b": torch.zeros(3).half()}, out)
    return out.getvalue()


SAVED = _saved()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.integers(0, len(SAVED) - 1), st.integers(0, 255)), min_size=1, max_size=4), st.integers(-30, 0))
def test_a_mutated_file_is_read_or_refused(tmp_path: Path, changes: list[tuple[int, int]], shorter: int) -> None:
    data = bytearray(SAVED)
    for at, byte in changes:
        data[at] = byte
    file = tmp_path / "x.bin"
    file.write_bytes(data[: len(data) + shorter])
    assert outcome(file).isprintable()


def outcome(file: Path) -> str:
    """The sentence with which a file is refused; "read" where it is not."""
    try:
        read(file)
    except RunError as error:
        return str(error)
    return "read"
