"""The peak of anonymous memory of a generation, against weights, cache and what `import torch` takes: once each, in processes of their own.

    python benchmarks/anonymous.py --shape llama-1.1b --precision float16

Anonymous memory is what the process itself holds: pages of the weight file are not part of it. It is sampled from
outside, through Linux's /proc. Exits 1 where the peak is above 1.15 x (weights + cache) and what torch takes.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import record
from shapes import SHAPES, weights, write_huggingface

MOST = 1.15  # x (weights + cache)
EVERY = 0.001  # seconds between two looks
PROMPT, NEW = 512, 32


def generation(folder: str, precision: str, room: int) -> dict[str, Any]:
    """A prompt of 512 tokens and 32 new ones, with memory set aside for `room` positions."""
    from gencli.loading import load
    from gencli.registry import find

    session = load(folder, precision=precision)
    decoder = session.decoder(room=room)
    ids = decoder.prefill(list(range(PROMPT))).argmax(dim=1).tolist()
    for _ in range(NEW):
        ids = decoder.step(ids).argmax(dim=1).tolist()
    position = decoder.nbytes // room
    # memory that is set aside and not written to is no memory yet
    return {"cache": position * (PROMPT + NEW), "bytes_per_weight": find("precisions", session.precision).bytes_per_weight}


def peak(command: list[str]) -> tuple[int, Any]:
    """The most anonymous bytes that a process held, and what its last line says."""
    most = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            try:
                found = re.search(r"^RssAnon:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
            except OSError:
                break
            most = max(most, 1024 * int(found[1])) if found else most
            time.sleep(EVERY)
        assert process.stdout is not None
        said = process.stdout.read()
    if process.returncode:
        sys.exit(f"{command[-1]}: exit code {process.returncode}")
    return most, json.loads(said.splitlines()[-1]) if said else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="llama-1.1b")
    parser.add_argument("--precision", default="float16")
    parser.add_argument("--room", type=int, default=PROMPT + NEW, help="positions that memory is set aside for")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(generation(arguments.one, arguments.precision, arguments.room)))
        return
    torch, _ = peak([sys.executable, "-c", "import torch"])
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / arguments.shape
        write_huggingface(SHAPES[arguments.shape], folder)
        size = ["--precision", arguments.precision, "--room", str(arguments.room)]
        most, told = peak([sys.executable, __file__, *size, "--one", str(folder)])
    held = round(weights(SHAPES[arguments.shape]) * told["bytes_per_weight"])
    ratio = (most - torch) / (held + told["cache"])
    figures = [f"{number / 1e6:,.0f}" for number in (held, told["cache"], torch, most)]
    text = f"{record.machine('torch')}; megabytes.\n\n"
    text += (
        "| shape | precision | weights | cache | `import torch` | peak | (peak - torch) / (weights + cache) | at most |\n"
        + "|---" * 8
        + "|\n"
    )
    text += f"| {arguments.shape} | {arguments.precision} | {' | '.join(figures)} | {ratio:.2f} | {MOST} |"
    print(text)
    if arguments.write:
        record.write(f"anonymous {arguments.shape}", text)
    sys.exit("The peak is above the limit." if ratio > MOST else 0)


if __name__ == "__main__":
    main()
