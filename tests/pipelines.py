"""Random pipelines over whatever lies on the shelf of stages, and a tiny untrained session to run them with."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch

from gencli.loading import Session
from gencli.models import RandomTensors, Weights
from gencli.models.gpt2 import Gpt2, Gpt2Config
from gencli.precisions.float32 import Float32
from gencli.preset import Preset, StageSettings, Value
from gencli.registry import find, names
from gencli.stages import Knob, knobs
from gencli.vocabulary import Vocabulary

# what needs more than the logits of a step is tested by itself
STAGES = tuple(name for name in names("stages") if not hasattr(find("stages", name), "needs"))


def tiny_session(size: int = 6, context: int = 12, seed: int = 0) -> Session:
    """A session over `size` tokens named a, b, c ..., of which the first ends a text; its logits spread over some nats."""
    config = Gpt2Config(size, context, width=16, layers=1, heads=2, mlp_width=32)
    layout = config.layout()
    model = Gpt2(config, Weights(RandomTensors(layout, torch.Generator().manual_seed(seed), spread=0.5), layout), Float32())
    token_bytes = [bytes([97 + token % 26]) for token in range(size)]
    vocabulary = Vocabulary(size, token_bytes, frozenset({0}), frozenset(), lambda text: [ord(each) - 97 for each in text])
    nothing: Any = None
    return Session(model, nothing, vocabulary, "tiny", Path(), 0, {}, {}, "cpu", "float32")


def value_of(knob: Knob, dice: random.Random, size: int) -> Any:
    """A value that the knob accepts, mostly one that bites."""
    if knob.kind == "choice":
        return dice.choice(knob.choices)
    if knob.kind == "int":
        low = int(knob.low or 0)
        return dice.randint(low, int(min(knob.high if knob.high is not None else low + size, low + size)))
    if knob.kind == "float":
        low = -2.0 if knob.low is None or knob.low < -2 else knob.low
        high = low + 4 if knob.high is None or knob.high > low + 4 else knob.high
        return round(dice.uniform(low + 0.01, high - 0.01), 2)
    if knob.kind == "map":
        return tuple((token, dice.choice([-float("inf"), dice.uniform(-3, 3)])) for token in dice.sample(range(size), 2))
    return knob.default


def random_preset(seed: int, size: int = 6, most: int = 4, **settings: Any) -> Preset:
    """One to `most` stages of the shelf, any of them perhaps twice, with values of their own."""
    dice = random.Random(seed)
    stages = []
    for name in dice.choices(STAGES, k=dice.randint(1, most)):
        first, *others = knobs(find("stages", name))
        chosen = [first, *(knob for knob in others if dice.random() < 0.3)]
        stages.append(StageSettings(name, tuple((knob.name, Value(value_of(knob, dice, size), "test")) for knob in chosen)))
    return Preset(pipeline=tuple(stages), settings=tuple((key, Value(value, "test")) for key, value in settings.items()))
