"""The programs side by side: tokens a second of one task, of one program, in a process that does nothing else. Knows no comparison.

python benchmarks/programs.py FOLDER gencli float16 decode
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

THREADS = 2
PROMPT, NEW, PREFILL, ROWS = 32, 64, 512, 16
GGUF = {"float32": "F32", "float16": "F16", "int8": "Q8_0", "int4": "Q4_0"}
TASKS = ("decode", "prefill", "rows")  # one row and 16 at once after a prompt of 32, 64 steps each; a prompt of 512


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


def ctranslate2(folder: Path, precision: str, task: str) -> float:
    """Tokens a second through `generate_batch`, greedy, the prompt forwarded at once."""
    import ctranslate2

    held = folder / "ctranslate2"
    model = ctranslate2.Generator(str(held), device="cpu", compute_type=precision, intra_threads=THREADS)
    tokens = json.loads((held / "vocabulary.json").read_text())

    def once(length: int, rows: int, new: int) -> None:
        model.generate_batch([tokens[:length]] * rows, max_length=new, min_length=new, include_prompt_in_result=False)

    if task == "prefill":
        return _rate(PREFILL, lambda: once(PREFILL, 1, 1))
    return _difference(lambda new: once(PROMPT, ROWS if task == "rows" else 1, new), ROWS if task == "rows" else 1)


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
        mask = torch.ones_like(ids)

        def once(new: int) -> None:
            model.generate(ids, attention_mask=mask, max_new_tokens=new, min_new_tokens=new, do_sample=False, pad_token_id=0)

        return _difference(once, rows)


def _rate(tokens: int, once: Callable[[], Any]) -> float:
    """Tokens a second: the median of three, after one that warms up."""
    once()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        once()
        times.append(time.perf_counter() - start)
    return tokens / statistics.median(times)


def _difference(generate: Callable[[int], Any], rows: int) -> float:
    """Tokens a second of what generates a number of tokens at once: `NEW` of them less the first."""

    def seconds(new: int) -> float:
        start = time.perf_counter()
        generate(new)
        return time.perf_counter() - start

    seconds(2)
    return rows * (NEW - 1) / (seconds(NEW) - seconds(1))


def _steps(step: Callable[[], None], rows: int) -> float:
    """Tokens a second over `NEW` steps, all rows together, after four that warm up."""
    for _ in range(4):
        step()
    start = time.perf_counter()
    for _ in range(NEW):
        step()
    return rows * NEW / (time.perf_counter() - start)


MEASURES = {"gencli": gencli, "llama.cpp": llama_cpp, "ctranslate2": ctranslate2, "transformers": transformers}


if __name__ == "__main__":
    place, program, held, wanted = sys.argv[1:]
    print(MEASURES[program](Path(place), held, wanted))
