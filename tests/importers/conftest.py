"""What the tests of importers stand on: random rows, what a preset makes of them, and how far two distributions lie apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from foreign import PROMPT, ROWS, SIZE, STEPS
from gencli.candidates import Candidates
from gencli.importers import Imported, carry, sources
from gencli.memory import Memory
from gencli.pipeline import Pipeline
from gencli.preset import Preset
from gencli.vocabulary import Vocabulary


@pytest.fixture(scope="session")
def rows() -> Tensor:
    """200 rows of float64 logits over 60 tokens, from nearly flat to steep, all different."""
    generator = torch.Generator().manual_seed(31)
    scales = torch.linspace(-1, 1, ROWS, dtype=torch.float64)[:, None]
    return torch.randn((ROWS, SIZE), dtype=torch.float64, generator=generator) * 10**scales + 0.3


@pytest.fixture(scope="session")
def texts() -> list[list[int]]:
    """For each row a prompt of 5 tokens and 9 after it, with repetitions."""
    generator = torch.Generator().manual_seed(32)
    return torch.randint(0, 12, (ROWS, PROMPT + STEPS), generator=generator).tolist()


@pytest.fixture(scope="session")
def imported() -> Callable[..., Imported]:
    """imported("ollama", text): the preset, after it went through YAML and came back the same."""

    def read(program: str, text: str) -> Imported:
        found = carry(sources()[program].read(text, "here"), "as elsewhere")
        written = found.dumps()
        back = Preset.loads(written)
        assert back.stages() == found.preset.stages()
        assert {key: value.value for key, value in back.settings} == {key: value.value for key, value in found.preset.settings}
        assert back.dumps() == found.preset.dumps()
        assert back.description == found.preset.description
        return replace(found, preset=back)

    return read


@pytest.fixture(scope="session")
def drawn_from() -> Callable[..., Tensor]:
    """drawn_from(preset, rows, texts): (rows, size) the probabilities that a preset draws from; `beside` are logits for guidance."""

    def probabilities(preset: Preset, logits: Tensor, ids: Sequence[Sequence[int]], beside: Tensor | None = None) -> Tensor:
        ends = frozenset(each for each in preset.get("end_tokens", ()) if isinstance(each, int))
        size = logits.shape[1]
        vocabulary = Vocabulary(size, [b"%d " % each for each in range(size)], ends, frozenset(), lambda text: [])
        memories = []
        for each in ids:
            memory = Memory(each[:PROMPT])
            for token in each[PROMPT:]:
                memory.append(token)
            if beside is not None:
                memory.hand((), beside[len(memories)])
            memories.append(memory)
        left = Pipeline(preset.stages()).bind(vocabulary)(Candidates(logits), memories)
        return left.spread(size).softmax(dim=1)

    return probabilities


@pytest.fixture(scope="session")
def apart() -> Callable[[Tensor, Tensor], float]:
    """The largest total variation between two (rows, size) tables of probabilities."""
    return lambda one, other: float((one - other).abs().sum(dim=1).max() / 2)
