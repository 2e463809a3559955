"""The shipped presets and checkpoints are found from the source tree and from a wheel alike."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gencli import shipped
from gencli.errors import RunError

PROGRAM = "from gencli import shipped; print(shipped.__file__); print(shipped.folder('configs')); print(shipped.folder('checkpoints'))"


def test_an_editable_install_reads_the_source_tree(root: Path) -> None:
    assert shipped.folder("configs") == root / "configs"
    assert shipped.folder("checkpoints") == root / "checkpoints"


def test_a_wheel_reads_what_it_carries(root: Path, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist")]
    subprocess.run(build, cwd=root, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    empty = tmp_path / "empty"
    empty.mkdir()

    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    answer = subprocess.run([sys.executable, "-c", PROGRAM], cwd=empty, env=environment, check=True, capture_output=True, text=True).stdout

    module, configs, checkpoints = map(Path, answer.split())
    assert all(place.is_relative_to(tmp_path / "site" / "gencli") for place in (module, configs, checkpoints))
    assert sorted(configs.glob("presets/*.yaml")), "the wheel carries the presets"
    assert (checkpoints / "fable-6m" / "model.safetensors").stat().st_size == (
        root / "checkpoints/fable-6m/model.safetensors"
    ).stat().st_size
    assert (tmp_path / "site" / "gencli" / "py.typed").exists()


def test_missing_data_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shipped, "__file__", str(tmp_path / "src" / "gencli" / "shipped.py"))
    with pytest.raises(RunError, match="configs folder is missing"):
        shipped.folder("configs")
