"""One row's sampling beside transformers' processors: penalty, temperature, top-p, min-p and the draw, in one process.

Turns of a few steps alternate; medians of microseconds a step and their ratio, on distributions of a language model's entropy and on
flat ones. "Cold" steps follow a read of 64 MB each, as they follow a model's weights in a run: nothing is left in the caches, for either.
Freed memory is kept for both as it is in a run, once a checkpoint was loaded: else a third of our time is page faults.
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
TURN = 5  # steps at once; the first one, which finds the other's traces in the caches, is not counted
COLD = 64_000_000  # bytes read before a cold step
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


def median_times(ways: list[Callable[[torch.Tensor, int], int]], rows: list[torch.Tensor], rounds: int, cold: bool) -> list[float]:
    """Microseconds a step of each way, alternating turn by turn."""
    times: list[list[float]] = [[] for _ in ways]
    weights = torch.ones(COLD // 4)
    for turn in range(-1, rounds):
        for row in rows:
            for way, spent in zip(ways, times, strict=True):
                for step in range(TURN):
                    if cold:
                        weights.dot(weights)
                    start = time.perf_counter()
                    way(row, TURN * (turn + 1) + step)
                    if turn >= 0 and step:  # the first turn warms up
                        spent.append(1e6 * (time.perf_counter() - start))
    return [statistics.median(spent) for spent in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4, help="turns of each program and row")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    generator = torch.Generator().manual_seed(0)
    steps = 3 * arguments.rounds * (TURN - 1)
    print(f"{arguments.threads} threads, load {os.getloadavg()[0]:.1f}; microseconds a step, medians of {steps}\n")
    print("| vocabulary | distribution | gencli | transformers | ratio | cold: gencli | transformers | ratio |\n" + "|---" * 8 + "|")
    for vocabulary in VOCABULARIES:
        seen = torch.randint(vocabulary, (SEEN,), generator=generator).tolist()
        ways = [ours(seen), theirs(seen)]
        for name, bits in ENTROPIES.items():
            if bits is not None and bits > math.log2(vocabulary):
                continue
            rows = [logits_of(vocabulary, bits, generator) for _ in range(3)]
            cells = []
            for cold in (False, True):
                mine, peer = median_times(ways, rows, arguments.rounds, cold)
                cells += [f"{mine:,.0f}", f"{peer:,.0f}", f"{peer / mine:.1f}"]
            print(f"| {vocabulary:,} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    from gencli.allocator import returning_memory

    with returning_memory():
        pass  # what it leaves behind it is a run's state
    with torch.inference_mode():
        main()
