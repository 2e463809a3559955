"""What a step costs more after 4,096 positions than after 256, against reading the extra cache at the measured bandwidth.

    python benchmarks/positions.py --shape llama-1.1b --precision float16

Steps at both lengths take turns in one process. Exits 1 where the extra time is above what the extra cache's bytes
take at 80 % of the bandwidth. The long prompt of the 1.1B shape takes minutes to compute.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import record
from shapes import SHAPES, write_huggingface

SHORT, LONG = 256, 4096
LEAST = 0.8  # of the bandwidth
TURN = 4  # steps at one length before the other takes its turn


def step_seconds(folder: Path, precision: str, turns: int, threads: int) -> tuple[list[float], float]:
    """The median seconds of a step after SHORT and after LONG positions, and the bytes that a position holds."""
    from gencli.loading import load

    session = load(str(folder), precision=precision, threads=threads)
    decoders = [session.decoder(room=length + TURN) for length in (SHORT, LONG)]
    for decoder, length in zip(decoders, (SHORT, LONG), strict=True):
        decoder.prefill([17 * place % session.model.vocab_size for place in range(length)])
    taken: list[list[float]] = [[], []]
    for turn in range(turns + 1):
        for decoder, spent, length in zip(decoders, taken, (SHORT, LONG), strict=True):
            for step in range(TURN):
                start = time.perf_counter()
                decoder.step([step]).argmax(dim=1).tolist()
                if turn and step:  # the first step of a turn finds the other's cache in the processor's
                    spent.append(time.perf_counter() - start)
            decoder.rewind(length)
    return [statistics.median(spent) for spent in taken], decoders[1].nbytes / (LONG + TURN)


def main() -> None:
    from gencli.machine import read_bandwidth

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="llama-1.1b")
    parser.add_argument("--precision", default="float16")
    parser.add_argument("--turns", type=int, default=10, help=f"of {TURN} steps at each length")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / arguments.shape
        write_huggingface(replace(SHAPES[arguments.shape], context=LONG + 2 * TURN), folder)
        (short, long), position = step_seconds(folder, arguments.precision, arguments.turns, arguments.threads)
    bandwidth = read_bandwidth().bytes_per_second
    extra, size = long - short, position * (LONG - SHORT)
    allowed = size / (LEAST * bandwidth)
    cells = [f"{1e3 * short:.2f}", f"{1e3 * long:.2f}", f"{1e3 * extra:.2f}", f"{size / 1e6:.1f}", f"{1e3 * allowed:.2f}"]
    cells.append(f"{size / extra / bandwidth:.0%}")
    text = f"{record.machine('torch')}; {arguments.threads} threads, milliseconds a step, medians; {bandwidth / 1e9:.1f} GB/s read.\n\n"
    text += (
        f"| shape | precision | after {SHORT} | after {LONG:,} | extra | extra cache, MB | at most | of the bandwidth |\n"
        + "|---" * 8
        + "|\n"
    )
    text += f"| {arguments.shape} | {arguments.precision} | {' | '.join(cells)} |"
    print(text)
    if arguments.write:
        record.write(f"positions {arguments.shape}", text)
    sys.exit("The extra positions cost more than the limit." if extra > allowed else 0)


if __name__ == "__main__":
    main()
