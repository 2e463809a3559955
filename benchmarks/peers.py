"""Side by side with the peers: decoding, prefill and batches, on the same random weights, threads and precision.

    python benchmarks/peers.py --shapes gpt2-124m,llama-135m,llama-1.1b --runs 3 --write

Each measure is a process of its own; runs alternate between the programs, and medians are compared. The peers come with
the extra `peers`; one that is not installed is left out and said so. Nothing is downloaded; the 1.1B shape takes 12 GB in
the temporary folder until it is done. `--write` puts the tables into docs/performance.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import record
from programs import GGUF, TASKS, THREADS
from shapes import SHAPES, weights_read, write_gguf, write_huggingface

BYTES = {"float32": 4.0, "float16": 2.0, "int8": 1.0, "int4": 0.5}  # a weight, without the scales
PROGRAMS: dict[str, tuple[str, tuple[str, ...]]] = {  # program -> the module it needs, and its precisions
    "gencli": ("gencli", tuple(GGUF)),  # those that its shelf has
    "llama.cpp": ("llama_cpp", tuple(GGUF)),
    "ctranslate2": ("ctranslate2", ("float32", "int8")),  # on a processor; float16 becomes float32 there
    "transformers": ("transformers", ("float32",)),
}
DISTRIBUTIONS = ("torch", "numba", "llama-cpp-python", "ctranslate2", "transformers")


def jobs_of(tasks: list[str], programs: list[str], precisions: list[str]) -> list[tuple[str, str, str]]:
    """What can be measured here, as (program, precision, task)."""
    from gencli.registry import names

    for name in programs:
        if not importlib.util.find_spec(PROGRAMS[name][0]):
            print(f"{name} is not installed and left out", file=sys.stderr)
    installed = {name: PROGRAMS[name][1] for name in programs if importlib.util.find_spec(PROGRAMS[name][0])}
    if "gencli" in installed:
        installed["gencli"] = tuple(each for each in installed["gencli"] if each in names("precisions"))
    return [(name, each, task) for task in tasks for name, able in installed.items() for each in able if each in precisions]


def write_models(shape: str, folder: Path, jobs: list[tuple[str, str, str]]) -> None:
    """The same random weights in every format that the jobs read."""
    write_huggingface(SHAPES[shape], folder)
    for precision in dict.fromkeys(precision for name, precision, _ in jobs if name == "llama.cpp"):
        write_gguf(folder, GGUF[precision])
    if any(name == "ctranslate2" for name, _, _ in jobs):
        from ctranslate2.converters import TransformersConverter

        TransformersConverter(str(folder), load_as_float16=True, low_cpu_mem_usage=True).convert(str(folder / "ctranslate2"))


def compare(shape: str, runs: int, jobs: list[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """A row per program, precision and task: the median of `runs` alternating runs, in tokens a second."""
    found: dict[tuple[str, str, str], list[float]] = {job: [] for job in jobs}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / shape
        write_models(shape, folder, jobs)
        for number in range(runs):
            for job in jobs:
                found[job].append(record.alone("programs", str(folder), *job))
                print(f"{shape} run {number + 1}/{runs} {' '.join(job)}: {found[job][-1]:.1f} tokens/s", file=sys.stderr)
    return [
        {"shape": shape, "program": name, "precision": precision, "task": task, "median": statistics.median(rates), "rates": rates}
        for (name, precision, task), rates in found.items()
    ]


def report(shape: str, rows: list[dict[str, Any]], bandwidth: float) -> str:
    """A shape's rows as a Markdown table: the ratio to llama.cpp at the same precision, the share of the bandwidth's limit."""
    mine = {(row["program"], row["precision"], row["task"]): row["median"] for row in rows}
    tasks = [task for task in TASKS if any(task == key[2] for key in mine)]
    lines = [f"| program | precision | {' | '.join(tasks)} | decode's share of the limit |", "|---|---|" + "---|" * len(tasks) + "---|"]
    for program, precision in dict.fromkeys(key[:2] for key in mine):
        cells = []
        for task in tasks:
            rate, peer = mine[program, precision, task], mine.get(("llama.cpp", precision, task))
            cells.append(f"{rate:.4g}" + (f" ({rate / peer:.2f})" if peer and program != "llama.cpp" else ""))
        decode = mine.get((program, precision, "decode"))
        share = f"{decode * weights_read(SHAPES[shape]) * BYTES[precision] / bandwidth:.0%}" if decode else ""
        lines.append(f"| {program} | {precision} | {' | '.join(cells)} | {share} |")
    runs = len(rows[0]["rates"])
    return "\n".join(
        [
            f"{record.machine(*DISTRIBUTIONS)}; {THREADS} threads, medians of {runs} alternating runs, {bandwidth / 1e9:.1f} GB/s read.",
            "",
            *lines,
        ]
    )


def listed(choices: Any) -> Callable[[str], list[str]]:
    """A type of argument: names between commas, each one of `choices`."""

    def read(text: str) -> list[str]:
        names = text.split(",")
        if wrong := [name for name in names if name not in choices]:
            raise argparse.ArgumentTypeError(f"{wrong[0]!r} is none of {', '.join(choices)}")
        return names

    return read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, choices, default in (
        ("shapes", SHAPES, "gpt2-124m"),
        ("tasks", TASKS, ",".join(TASKS)),
        ("programs", PROGRAMS, ",".join(PROGRAMS)),
        ("precisions", GGUF, ",".join(GGUF)),
    ):
        parser.add_argument(f"--{name}", type=listed(choices), default=default, help=f"between commas: {', '.join(choices)}")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", metavar="FILE", help="keep every figure")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    arguments = parser.parse_args()
    jobs, kept, limit = jobs_of(arguments.tasks, arguments.programs, arguments.precisions), [], record.alone("bandwidth")
    for shape in arguments.shapes:
        rows = compare(shape, arguments.runs, jobs)
        kept += rows
        text = report(shape, rows, limit)
        print(f"**{shape}**\n\n{text}\n")
        if arguments.write:
            record.write(f"peers {shape}", text)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
