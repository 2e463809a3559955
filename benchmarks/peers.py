"""Side by side with the peers: decoding, prefill and batches, on the same random weights, threads and precision.

    python benchmarks/peers.py --shapes gpt2-124m --runs 3

Each measure is a process of its own; runs alternate between the programs, and medians are compared. The peers come with
the extra `peers`; one that is not installed is left out and said so. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shapes import SHAPES, write_gguf, write_huggingface

THREADS = 2
PROMPT, NEW, PREFILL, ROWS = 32, 64, 512, 16
GGUF = {"float32": "F32", "float16": "F16", "int8": "Q8_0"}
TASKS = ("decode", "prefill", "rows")
PROGRAMS: dict[str, tuple[str, tuple[str, ...]]] = {  # program -> the module it needs, and its precisions
    "gencli": ("gencli", ("float32", "float16", "int8")),
    "llama.cpp": ("llama_cpp", ("float32", "float16", "int8")),
    "transformers": ("transformers", ("float32",)),
}


def gencli(folder: Path, precision: str, task: str) -> float:
    """Tokens a second through the decoder that `generate` uses."""
    from gencli.loading import load

    session = load(str(folder), precision=precision, threads=THREADS)
    if task == "prefill":
        return _rate(PREFILL, lambda: session.decoder(room=PREFILL + 1).prefill(list(range(PREFILL))))
    rows = ROWS if task == "rows" else 1
    decoder = session.decoder(room=PROMPT + NEW + 8)
    logits = decoder.prefill(list(range(PROMPT)), rows=rows)
    ids = [int(token) for token in logits.argmax(dim=1)]

    def step() -> None:
        nonlocal ids
        ids = decoder.step(ids).argmax(dim=1).tolist()

    return _steps(step, rows)


def llama_cpp(folder: Path, precision: str, task: str) -> float:
    """Tokens a second through llama.cpp's own evaluation, without its sampling."""
    import llama_cpp
    import numpy as np

    file = folder / f"{GGUF[precision]}.gguf"
    if task == "rows":
        return _llama_cpp_rows(file)
    model = llama_cpp.Llama(str(file), n_ctx=1024, n_batch=512, n_threads=THREADS, n_threads_batch=THREADS, verbose=False)
    if task == "prefill":

        def prefill() -> None:
            model.reset()
            model.eval(list(range(PREFILL)))

        return _rate(PREFILL, prefill)
    model.eval(list(range(PROMPT)))
    size = model.n_vocab()

    def step() -> None:
        logits = llama_cpp.llama_get_logits_ith(model.ctx, -1)
        model.eval([int(np.ctypeslib.as_array(logits, shape=(size,)).argmax())])

    return _steps(step, 1)


def _llama_cpp_rows(file: Path) -> float:
    import llama_cpp

    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(str(file).encode(), llama_cpp.llama_model_default_params())
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_seq_max = ROWS * 256, 512, ROWS
    params.n_threads = params.n_threads_batch = THREADS
    context = llama_cpp.llama_init_from_model(model, params)
    batch = llama_cpp.llama_batch_init(512, 0, 1)

    def decode(entries: list[tuple[int, int, int]]) -> None:
        batch.n_tokens = len(entries)
        for at, (token, place, row) in enumerate(entries):
            batch.token[at], batch.pos[at], batch.n_seq_id[at], batch.logits[at] = token, place, 1, 1
            batch.seq_id[at][0] = row
        if llama_cpp.llama_decode(context, batch):
            sys.exit("llama.cpp could not decode the batch")

    for row in range(ROWS):
        decode([(token, token, row) for token in range(PROMPT)])
    place = PROMPT

    def step() -> None:
        nonlocal place
        decode([(5 + row, place, row) for row in range(ROWS)])
        place += 1

    return _steps(step, ROWS)


def transformers(folder: Path, precision: str, task: str) -> float:
    """Tokens a second through `generate`, greedy, as a user calls it."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(THREADS)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        if task == "prefill":
            ids = torch.arange(PREFILL)[None]
            return _rate(PREFILL, lambda: model(ids, logits_to_keep=1))
        rows = ROWS if task == "rows" else 1
        ids = torch.arange(PROMPT).repeat(rows, 1)

        def seconds(new: int) -> float:
            start = time.perf_counter()
            model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, min_new_tokens=new, do_sample=False, pad_token_id=0
            )
            return time.perf_counter() - start

        seconds(2)
        return rows * (NEW - 1) / (seconds(NEW) - seconds(1))


def _rate(tokens: int, once: Callable[[], Any]) -> float:
    """Tokens a second: the median of three, after one that warms up."""
    once()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        once()
        times.append(time.perf_counter() - start)
    return tokens / statistics.median(times)


def _steps(step: Callable[[], None], rows: int) -> float:
    """Tokens a second over `NEW` steps, all rows together, after four that warm up."""
    for _ in range(4):
        step()
    start = time.perf_counter()
    for _ in range(NEW):
        step()
    return rows * NEW / (time.perf_counter() - start)


MEASURES = {"gencli": gencli, "llama.cpp": llama_cpp, "transformers": transformers}


def one(folder: Path, program: str, precision: str, task: str) -> float:
    """One measure in a process of its own, so that no program's threads or memory disturb another's."""
    command = [sys.executable, __file__, "--one", program, precision, task, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{program}, {precision}, {task}: {done.stderr.strip().splitlines()[-1:]}")
    return float(done.stdout.split()[-1])


def compare(shape: str, runs: int, tasks: list[str]) -> list[dict[str, Any]]:
    """A row per program, precision and task: the median of `runs` alternating runs, in tokens a second."""
    installed = {name: precisions for name, (module, precisions) in PROGRAMS.items() if importlib.util.find_spec(module)}
    for name in PROGRAMS.keys() - installed.keys():
        print(f"{name} is not installed and left out", file=sys.stderr)
    jobs = [(name, precision, task) for task in tasks for name, precisions in installed.items() for precision in precisions]
    found: dict[tuple[str, str, str], list[float]] = {job: [] for job in jobs}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / shape
        write_huggingface(SHAPES[shape], folder)
        if "llama.cpp" in installed:
            for kind in GGUF.values():
                write_gguf(SHAPES[shape], folder, kind)
        for number in range(runs):
            for job in jobs:
                found[job].append(one(folder, *job))
                print(f"{shape} run {number + 1}/{runs} {' '.join(job)}: {found[job][-1]:.1f} tokens/s", file=sys.stderr)
    return [
        {"shape": shape, "program": name, "precision": precision, "task": task, "median": statistics.median(rates), "rates": rates}
        for (name, precision, task), rates in found.items()
    ]


def report(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown: one table a shape, tasks as columns, with the ratio to llama.cpp at the same precision."""
    lines = []
    for shape in dict.fromkeys(row["shape"] for row in rows):
        mine = {(row["program"], row["precision"], row["task"]): row["median"] for row in rows if row["shape"] == shape}
        tasks = [task for task in TASKS if any(task == key[2] for key in mine)]
        lines += [f"**{shape}**, tokens a second (x llama.cpp at the same precision)", "", f"| program | precision | {' | '.join(tasks)} |"]
        lines.append("|---|---|" + "---|" * len(tasks))
        for program, precision in dict.fromkeys(key[:2] for key in mine):
            cells = []
            for task in tasks:
                rate, peer = mine[program, precision, task], mine.get(("llama.cpp", precision, task))
                cells.append(f"{rate:.0f}" + (f" ({rate / peer:.2f})" if peer and program != "llama.cpp" else ""))
            lines.append(f"| {program} | {precision} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", default="gpt2-124m", help=f"between commas: {', '.join(SHAPES)}")
    parser.add_argument(
        "--tasks", default=",".join(TASKS), help="between commas: decode and rows (16 at once) after 32 tokens; prefill of 512"
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", metavar="FILE", help="keep every figure")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        program, precision, task = arguments.one
        print(MEASURES[program](arguments.folder, precision, task))
        return
    rows = [row for shape in arguments.shapes.split(",") for row in compare(shape, arguments.runs, arguments.tasks.split(","))]
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}\n\n{report(rows)}"
    )
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
