"""How a test is quick in `make test` and thorough in `make slow`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def quick(values: Iterable[Any], wanted: int | Callable[[Any], bool]) -> list[Any]:
    """The values of a parametrization: the first `wanted` of them, or those it holds for, as they are; the others are slow proofs."""
    chosen = wanted if callable(wanted) else None
    return [value if (chosen(value) if chosen else at < wanted) else _slow(value) for at, value in enumerate(values)]


def _slow(value: Any) -> Any:
    return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.slow)
