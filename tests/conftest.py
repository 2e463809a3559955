"""What tests everywhere stand on: the embedded checkpoint, the real data where it is, few threads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# several threads in small products wait for each other where tests share the cores; set before torch is loaded
os.environ.setdefault("OMP_NUM_THREADS", "1")

# what whoever runs the tests has fetched is no part of them
os.environ.update(HF_HUB_CACHE="/nonexistent/hub", OLLAMA_MODELS="/nonexistent/ollama")

# a busy machine is no fault of a test
settings.register_profile("gencli", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gencli")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's own folder."""
    return ROOT


@pytest.fixture(scope="session")
def fable() -> Path:
    """The embedded checkpoint's folder."""
    return ROOT / "checkpoints" / "fable-6m"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real checkpoints, tokenizers and templates; the test skips without it."""
    if not (place := os.environ.get("GENCLI_REAL_DATA")):
        pytest.skip("GENCLI_REAL_DATA is not set")
    return Path(place)
