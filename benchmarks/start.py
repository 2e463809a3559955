"""How long a person waits: exec to the first byte against `import torch`, and the commands that need no model.

Runs alternate and medians are compared, with the page cache warm. Exits 1 where a limit is missed. Knows no code of gencli.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

GENCLI = str(Path(sys.executable).parent / "gencli")
MAIN_JOB = (GENCLI, "generate", "--preset", "creative", "--seed", "1", "--max-new-tokens", "8", "Once upon a time")
LIGHT = {
    "--help": (GENCLI, "--help"),
    "generate --help": (GENCLI, "generate", "--help"),
    "stages": (GENCLI, "stages"),
    "presets list": (GENCLI, "presets", "list"),
    "presets show creative": (GENCLI, "presets", "show", "creative"),
    "completion": ("env", "_GENCLI_COMPLETE=bash_complete", "COMP_WORDS=gencli generate --preset ", "COMP_CWORD=3", GENCLI),
}
MOST_RATIO = 1.3  # of `python -c "import torch"`
MOST_SECONDS = 0.2


def to_first_byte(command: tuple[str, ...]) -> float:
    """Seconds from exec to the first byte on stdout."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        os.read(process.stdout.fileno(), 1)
        seconds = time.perf_counter() - start
        process.stdout.read()
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}")
    return seconds


def to_end(command: tuple[str, ...]) -> float:
    """Seconds from exec to the end of the process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return time.perf_counter() - start


def alternating(runs: int, *measures: Callable[[], float]) -> list[float]:
    """The median of each measure over `runs` rounds, after one round that warms the page cache."""
    rounds = [[measure() for measure in measures] for _ in range(runs + 1)]
    return [statistics.median(column) for column in zip(*rounds[1:], strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=11, help="rounds to take the median of")
    runs = parser.parse_args().runs
    torch = (sys.executable, "-c", "import torch")
    job, imported = alternating(runs, lambda: to_first_byte(MAIN_JOB), lambda: to_end(torch))
    missed = job > MOST_RATIO * imported
    print(f"first byte of the main job   {job:6.3f} s")
    print(f'python -c "import torch"     {imported:6.3f} s')
    print(f"ratio                        {job / imported:6.2f}    at most {MOST_RATIO}")
    for name, command in LIGHT.items():
        (seconds,) = alternating(runs, lambda command=command: to_end(command))
        missed |= seconds > MOST_SECONDS
        print(f"{name:28} {seconds:6.3f} s  at most {MOST_SECONDS}")
    sys.exit("A limit is missed." if missed else 0)


main()
