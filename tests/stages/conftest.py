"""What the tests of single stages stand on: a stage built from its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gencli.candidates import Candidates
from gencli.memory import Memory
from gencli.registry import find
from gencli.stages import build


@pytest.fixture(scope="session")
def apply() -> Callable[..., Candidates]:
    """apply("top_k", logits, k=3): the candidates after one stage; `memories` may be given."""

    def applied(name: str, logits: Any, memories: Any = (), **knobs: Any) -> Candidates:
        tensor = logits if isinstance(logits, Tensor) else torch.tensor(logits)
        candidates = Candidates(tensor if tensor.dim() == 2 else tensor[None])
        stage = build(name, find("stages", name), knobs)
        return stage(candidates, memories or [Memory([0])] * candidates.rows)

    return applied


@pytest.fixture(scope="session")
def kept() -> Callable[..., list[int]]:
    """The token ids that are left in a row."""

    def left(candidates: Candidates, row: int = 0) -> list[int]:
        return candidates.token_ids()[row][candidates.logits[row] > -torch.inf].tolist()

    return left
