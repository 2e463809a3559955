"""What a trace costs: decode speed with it and without, for a GPT-2 of 124M random weights.

Exits 1 where the trace costs more than the limit. A flat distribution, which random weights give, is the worst case for what a
trace records; `--sharp` multiplies the head's weights, so that its entropy is like that of a trained model.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from alternating import report, speeds
from shapes import SHAPES, write_huggingface

MOST_COST = 0.05  # of decode speed
SHARPER = 6.0  # times the norm's weights: logits of such a spread have an entropy of some bits


class Nobody:
    """Reads events and does nothing."""

    def show(self, event: object) -> None:
        pass

    def close(self) -> None:
        pass


def sharpen(folder: Path) -> None:
    """Multiply the last norm, and so all logits."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("ln_f.weight"))
    save_file({**tensors, name: tensors[name] * SHARPER}, folder / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=11, help="runs of each kind")
    parser.add_argument("--tokens", type=int, default=128, help="new tokens a run")
    parser.add_argument("--threads", type=int, help="CPU threads; one is least disturbed by other work on the machine")
    parser.add_argument("--sharp", action="store_true", help="logits as far apart as a trained model's")
    arguments = parser.parse_args()
    from gencli import Detail
    from gencli.trace import TraceWriter

    with tempfile.TemporaryDirectory() as name:
        folder, trace = Path(name) / "gpt2", Path(name) / "trace.jsonl"
        write_huggingface(SHAPES["gpt2-124m"], folder)
        if arguments.sharp:
            sharpen(folder)
        modes = {"no trace": lambda: (Nobody(), None), "trace": lambda: (TraceWriter(str(trace)), Detail(logits=True))}
        found = speeds(folder, modes, arguments.runs, arguments.tokens, arguments.threads)
        lines = trace.read_bytes().splitlines()
    cost = report(found, MOST_COST, arguments.tokens)
    print(f"{sum(map(len, lines)) / len(lines) / 1000:.1f} kB a line")
    sys.exit("The trace costs too much." if cost > MOST_COST else 0)


if __name__ == "__main__":
    main()
