"""Each line of the contract is tested through the installed command."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from shell import COMMAND, Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """`gencli` in an empty folder."""
    assert COMMAND.exists(), f"gencli is not installed beside {sys.executable}"
    return Shell(tmp_path)
