"""Kinds that were compiled in processes of their own do not call each other's code when one process takes all from the cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gencli import compiled

pytestmark = pytest.mark.skipif(not compiled.available(), reason="the extra `fast` is not installed, or not for this machine")
PRODUCTS = """
import sys
import torch
from gencli import compiled
from gencli.compiled.program import code
from gencli.precisions.int8 import rounded
weight, x = torch.arange(64 * 64.).reshape(64, 64).sin(), torch.arange(64.).cos()[None]
assert compiled.available()
for kind in sys.argv[1:]:
    code(kind)
    held, scales = rounded(weight) if kind == "int8" else (weight.to(getattr(torch, kind)), None)
    exact = held.double() if scales is None else held.double() * scales[:, None]
    torch.testing.assert_close(compiled.product(kind, held, scales)(x).double(), x.double() @ exact.T, atol=1e-3, rtol=1e-3)
"""


@pytest.mark.slow
def test_kinds_of_several_processes_live_together_in_one(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    kinds = ["float32", "float16", "bfloat16", "int8"]
    for asked in (*([each] for each in kinds), kinds, kinds[::-1]):
        done = subprocess.run([sys.executable, "-c", PRODUCTS, *asked], env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, (asked, done.stderr)
