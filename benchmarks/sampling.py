"""One row's sampling beside transformers' processors: penalty, temperature, top-p, min-p and the draw, in one process.

Runs alternate; medians of microseconds a step and their ratio, on distributions of a language model's entropy and on flat ones.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from collections.abc import Callable

import torch

VOCABULARIES = (4_096, 50_257, 128_256)
SEEN = 200  # tokens that the repetition penalty looks at
ENTROPIES = {"2 bits": 2.0, "4 bits": 4.0, "6 bits": 6.0, "flat": None}


def logits_of(vocabulary: int, bits: float | None, generator: torch.Generator) -> torch.Tensor:
    """(1, vocabulary) normal logits, scaled until their entropy is that of `bits`; flat ones differ by hundredths."""
    noise = torch.randn(1, vocabulary, generator=generator)
    if bits is None:
        return noise * 0.01
    low, high = 0.0, 50.0
    for _ in range(40):
        middle = (low + high) / 2
        probs = (noise * middle).double().softmax(dim=1)
        entropy = float(-(probs * probs.clamp_min(1e-300).log2()).sum())
        low, high = (middle, high) if entropy > bits else (low, middle)
    return noise * high


def ours(seen: list[int]) -> Callable[[torch.Tensor, int], int]:
    """gencli's chain and draw."""
    from gencli import Preset
    from gencli.candidates import Candidates
    from gencli.drawing import draw
    from gencli.memory import Memory
    from gencli.pipeline import Pipeline

    text = "pipeline:\n  - repetition_penalty: 1.1\n  - temperature: 0.8\n  - top_p: 0.95\n  - min_p: 0.05\n"
    pipeline, memory = Pipeline(Preset.loads(text).stages()), Memory(seen, seed=1)
    return lambda logits, step: draw(pipeline(Candidates(logits), [memory]), [memory.uniform(index=step)], step)[0]


def theirs(seen: list[int]) -> Callable[[torch.Tensor, int], int]:
    """transformers' processors in its own order, and torch.multinomial."""
    from transformers import (
        LogitsProcessorList,
        MinPLogitsWarper,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopPLogitsWarper,
    )

    chain = LogitsProcessorList(
        [RepetitionPenaltyLogitsProcessor(1.1), TemperatureLogitsWarper(0.8), TopPLogitsWarper(0.95), MinPLogitsWarper(0.05)]
    )
    ids = torch.tensor([seen])
    return lambda logits, step: int(torch.multinomial(chain(ids, logits.clone()).softmax(dim=-1), 1))


def median_times(ways: list[Callable[[torch.Tensor, int], int]], rows: list[torch.Tensor], rounds: int) -> list[float]:
    """Microseconds a step of each way, alternating row by row."""
    times: list[list[float]] = [[] for _ in ways]
    for step in range(-2, rounds):
        for row in rows:
            for way, spent in zip(ways, times, strict=True):
                start = time.perf_counter()
                way(row, step + 2)
                if step >= 0:  # the first rounds warm up
                    spent.append(1e6 * (time.perf_counter() - start))
    return [statistics.median(spent) for spent in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    generator = torch.Generator().manual_seed(0)
    print(f"{arguments.threads} threads, load {os.getloadavg()[0]:.1f}; microseconds a step, medians of {3 * arguments.rounds}\n")
    print("| vocabulary | distribution | gencli | transformers | ratio |\n|---|---|---|---|---|")
    for vocabulary in VOCABULARIES:
        seen = torch.randint(vocabulary, (SEEN,), generator=generator).tolist()
        ways = [ours(seen), theirs(seen)]
        for name, bits in ENTROPIES.items():
            if bits is not None and bits > math.log2(vocabulary):
                continue
            rows = [logits_of(vocabulary, bits, generator) for _ in range(3)]
            mine, peer = median_times(ways, rows, arguments.rounds)
            print(f"| {vocabulary:,} | {name} | {mine:,.0f} | {peer:,.0f} | {peer / mine:.1f} |", flush=True)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
