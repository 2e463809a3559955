"""Tensors out of files: whatever their place, type and strides, and gone when nobody holds them."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from gencli.errors import RunError
from gencli.formats import DTYPES, Header
from gencli.formats._mapped import TORCH, MappedTensors, Piece, mapped


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("begin", [0, 1, 3, 64, 4095, 4096, 4100])
def test_numbers_anywhere_in_a_file(tmp_path: Path, name: str, begin: int) -> None:
    numbers = torch.arange(24).view(2, 3, 4).to(getattr(torch, TORCH[name]))
    (tmp_path / "x").write_bytes(b"\xff" * begin + numbers.view(torch.uint8).numpy().tobytes() + b"\xff" * 9)
    assert torch.equal(mapped(Piece(tmp_path / "x", begin, Header(name, (2, 3, 4))), "a"), numbers)
    assert DTYPES[name] // 8 == numbers.element_size()


def test_strides_and_empty_ones(tmp_path: Path) -> None:
    numbers = torch.arange(12.0)
    (tmp_path / "x").write_bytes(numbers.numpy().tobytes())
    turned = mapped(Piece(tmp_path / "x", 0, Header("F32", (4, 3)), (1, 4)), "a")
    assert torch.equal(turned, numbers.view(3, 4).t())
    assert mapped(Piece(tmp_path / "x", 48, Header("F32", (0, 5))), "a").shape == (0, 5)
    assert mapped(Piece(tmp_path / "x", 8, Header("F32", ())), "a").item() == 2


def test_the_file_stays_as_it_is_and_the_map_goes(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(bytes(1 << 16))
    tensor = mapped(Piece(tmp_path / "x.bin", 0, Header("F32", (1 << 14,))), "a")
    tensor += 1
    assert not any((tmp_path / "x.bin").read_bytes())
    if Path("/proc/self/maps").exists():
        assert "x.bin" in Path("/proc/self/maps").read_text()
        del tensor
        gc.collect()
        assert "x.bin" not in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize(
    ("begin", "kind", "says"), [(0, "F32", "cannot be read"), (1 << 40, "F32", "cannot be read"), (0, "F8_E4M3", "is not read")]
)
def test_what_is_not_there_is_a_sentence(tmp_path: Path, begin: int, kind: str, says: str) -> None:
    (tmp_path / "x").write_bytes(bytes(10))
    with pytest.raises(RunError, match=rf"tensor 'a' of .*{says}"):
        MappedTensors({"a": Piece(tmp_path / "x", begin, Header(kind, (3,)))})["a"]
