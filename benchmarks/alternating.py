"""Decode speed with this beside it and with that: runs of both kinds take turns in one process. Knows neither."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gencli.observation import Detail
    from gencli.renderers import Renderer

PRECISION = "float16"  # the fastest here, so that whatever stands beside a step weighs most
PRESET = "creative"
PROMPT = "Once upon a time there was a small dog who lived in a house by the sea and wanted to see the world."
Mode = Callable[[], "tuple[Renderer, Detail | None]"]


def speeds(checkpoint: Path, modes: Mapping[str, Mode], runs: int, tokens: int, threads: int | None) -> dict[str, list[float]]:
    """Tokens a second of `runs` runs in each mode, which makes a renderer and says how much detail it needs; one more of each warms up."""
    from gencli import Finished, Options, Preset, load, run
    from gencli.preset import Value

    session = load(str(checkpoint), precision=PRECISION, threads=threads)
    preset = Preset.load(PRESET)
    preset = replace(preset, settings=(*preset.settings, ("max_new_tokens", Value(tokens, "flag"))))
    found: dict[str, list[float]] = {name: [] for name in modes}
    for seed in range(runs + 1):
        for name, mode in modes.items():
            renderer, detail = mode()
            for event in run(session, PROMPT, preset, Options(seed=seed, ignore_end=True, detail=detail)):
                renderer.show(event)
                if isinstance(event, Finished) and seed and event.tokens_per_second:
                    found[name].append(event.tokens_per_second)
            renderer.close()
    return found


def report(found: Mapping[str, list[float]], limit: float, tokens: int) -> float:
    """Print the best of the first mode and of the others, and what those cost; returns the highest cost, as a share of speed."""
    (first, plain), *others = ((name, max(values)) for name, values in found.items())
    width = max(map(len, found))
    print(f"GPT-2 124M, random weights, {PRECISION}, preset {PRESET}, {tokens} tokens, the best of {len(found[first])} alternating runs")
    print(f"{first:{width}}  {plain:7.1f} tokens/s")
    for name, speed in others:
        print(f"{name:{width}}  {speed:7.1f} tokens/s  {100 * (1 - speed / plain):5.1f} % less, at most {100 * limit:.0f} %")
    return max(1 - speed / plain for _, speed in others)
