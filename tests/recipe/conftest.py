"""A small corpus of all abilities: the project's own pages and modules, and stories and chats by a small grammar."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import torch

from recipe import vocabulary
from recipe.batches import MIXTURE
from recipe.corpus import Sources, documents
from recipe.network import Size
from recipe.training import Run, Settings

NAMES, THINGS, PLACES = ("Tim", "Lily", "Ben", "Mia", "Sue"), ("ball", "kite", "red hat", "small boat"), ("park", "garden", "wood")
TINY = Settings(size=Size(320, 32, 2, 2, 2, 48), rows=1, context=128, warmup=3)


def story(draw: random.Random) -> str:
    name, thing, place = draw.choice(NAMES), draw.choice(THINGS), draw.choice(PLACES)
    said = draw.choice(("I like it", "It is mine", "We can share it", "Look at me"))
    return f'Once upon a time {name} had a {thing}. {name} went to the {place} {draw.randint(2, 9)} times.\n\n"{said}," said {name}.\n'


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Sources:
    """The corpus in files, as the recipe reads them."""
    place = tmp_path_factory.mktemp("corpus")
    for folder in ("prose", "chat", "code"):
        (place / folder).mkdir()
    for page in (root / "docs").rglob("*.md"):
        (place / "prose" / f"{page.stem}.txt").write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    for module in sorted((root / "src" / "gencli").glob("*.py"))[:24]:
        shutil.copy(module, place / "code")
    draw = random.Random(1)
    (place / "stories.txt").write_text("<|endoftext|>\n".join(story(draw) for _ in range(300)), encoding="utf-8")
    chats = [[f"Hello, I am {draw.choice(NAMES)} {number}.", f"Do you like my {draw.choice(THINGS)}?"] for number in range(300)]
    lines = [
        json.dumps({"messages": [{"role": r, "content": c} for r, c in zip(("user", "assistant"), each, strict=True)]}) for each in chats
    ]
    (place / "chat" / "chats.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (place / "held.txt").write_text("top_k\nbar.py\n")
    return Sources(place / "prose", place / "stories.txt", place / "chat", place / "code", place / "held.txt")


@pytest.fixture(scope="session")
def data(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus as tokens of a vocabulary of 320."""
    place = tmp_path_factory.mktemp("data")
    texts = documents(sources)
    vocabulary.write(place, vocabulary.learn(texts, 320), texts)
    return place


@pytest.fixture
def opened(data: Path, tmp_path: Path):
    """Opens a tiny run in a folder of that name, or continues it."""

    def open_run(name: str, settings: Settings = TINY) -> Run:
        torch.set_num_threads(1)
        return Run(data, tmp_path / name, settings)

    assert set(MIXTURE) == {"prose", "stories", "chat", "functions", "modules"}
    return open_run
