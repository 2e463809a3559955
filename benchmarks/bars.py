"""What live bars cost: decode speed with them and without, on a pseudo-terminal, for a GPT-2 of 124M random weights.

Runs alternate in one process, and the fastest of each kind are compared, since other work on the machine only
ever slows a run. Exits 1 where the bars cost more than the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import subprocess
import sys
import tempfile
from itertools import islice, product
from pathlib import Path

WIDTH, LAYERS, HEADS, CONTEXT, VOCABULARY = 768, 12, 12, 1024, 50_257
MOST_COST = 0.03  # of decode speed
PRECISION = "float16"  # the fastest here, so a frame weighs most
PRESET = "creative"
PROMPT = "Once upon a time there was a small dog who lived in a house by the sea and wanted to see the world."


def write_tokenizer(folder: Path) -> None:
    """A byte-level BPE of GPT-2's size whose tokens are readable: merges of two and three printable characters."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + at) for at in range(len(others))]
    ascii_letters = [chr(code) for code in range(33, 127)]
    pairs = list(product(ascii_letters, ascii_letters))
    merges = [*pairs, *((first + second, third) for (first, second), third in product(pairs, ascii_letters))]
    merges = list(islice(merges, VOCABULARY - 1 - len(letters)))
    tokens = [*letters, *(left + right for left, right in merges)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    end = {"id": len(tokens), "content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False}
    model = {"type": "BPE", "vocab": {token: at for at, token in enumerate(tokens)}, "merges": [" ".join(merge) for merge in merges]}
    whole = {"version": "1.0", "added_tokens": [{**end, "normalized": False, "special": True}], "normalizer": None}
    whole |= {"pre_tokenizer": level, "post_processor": None, "decoder": level, "model": model}
    (folder / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")


def write_checkpoint(folder: Path) -> None:
    """GPT-2's 124M shape in Hugging Face layout, random float16 weights."""
    import torch
    from safetensors.torch import save_file

    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS}
    config |= {"n_positions": CONTEXT, "vocab_size": VOCABULARY, "torch_dtype": "float16", "eos_token_id": VOCABULARY - 1}
    config |= {"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"wte.weight": (VOCABULARY, WIDTH), "wpe.weight": (CONTEXT, WIDTH), "ln_f.weight": (WIDTH,), "ln_f.bias": (WIDTH,)}
    products = {
        "attn.c_attn": (WIDTH, 3 * WIDTH),
        "attn.c_proj": (WIDTH, WIDTH),
        "mlp.c_fc": (WIDTH, 4 * WIDTH),
        "mlp.c_proj": (4 * WIDTH, WIDTH),
    }
    for layer in range(LAYERS):
        for name in ("ln_1", "ln_2"):
            shapes |= {f"h.{layer}.{name}.weight": (WIDTH,), f"h.{layer}.{name}.bias": (WIDTH,)}
        for name, (inputs, outputs) in products.items():
            shapes |= {f"h.{layer}.{name}.weight": (inputs, outputs), f"h.{layer}.{name}.bias": (outputs,)}
    torch.manual_seed(0)
    save_file({name: torch.randn(shape).mul_(0.02).half() for name, shape in shapes.items()}, folder / "model.safetensors")


def measure(folder: Path, runs: int, tokens: int, threads: int | None, into: Path) -> None:
    """In a process whose stdout and stderr are a terminal: tokens a second of `runs` runs with bars and without."""
    from dataclasses import replace

    from gencli import Detail, Finished, Options, Preset, load, run
    from gencli.preset import Value
    from gencli.renderers.bars import Bars
    from gencli.renderers.text import Text
    from gencli.terminal import Messages, Output

    session = load(str(folder), precision=PRECISION, threads=threads)
    preset = Preset.load(PRESET)
    preset = replace(preset, settings=(*preset.settings, ("max_new_tokens", Value(tokens, "flag"))))
    speeds: dict[str, list[float]] = {"never": [], "auto": []}
    for seed in range(runs + 1):
        for mode, measured in speeds.items():
            output, messages = Output(), Messages()
            text, bars = Text(output), Bars(mode, messages, output)
            detail = None if mode == "never" else Detail(wanted=bars.wants_detail)
            for event in run(session, PROMPT, preset, Options(seed=seed, ignore_end=True, detail=detail)):
                text.show(event)
                bars.show(event)
                if isinstance(event, Finished) and seed and event.tokens_per_second:
                    measured.append(event.tokens_per_second)
            text.close()
            bars.close()
    into.write_text(json.dumps(speeds))


def on_a_terminal(command: list[str]) -> None:
    """Run a command on a pseudo-terminal whose output is read and dropped, as a fast terminal would."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        while read(ours):
            pass
    if process.returncode:
        sys.exit(f"the measuring process ended with {process.returncode}")


def read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=11, help="runs of each kind")
    parser.add_argument("--tokens", type=int, default=128, help="new tokens a run")
    parser.add_argument("--threads", type=int, help="CPU threads; one is least disturbed by other work on the machine")
    parser.add_argument("--measure", nargs=2, type=Path, metavar=("CHECKPOINT", "RESULT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        return measure(arguments.measure[0], arguments.runs, arguments.tokens, arguments.threads, arguments.measure[1])
    with tempfile.TemporaryDirectory() as name:
        folder, result = Path(name), Path(name) / "result.json"
        write_tokenizer(folder)
        write_checkpoint(folder)
        size = ["--runs", str(arguments.runs), "--tokens", str(arguments.tokens)]
        size += ["--threads", str(arguments.threads)] if arguments.threads else []
        on_a_terminal([sys.executable, __file__, *size, "--measure", str(folder), str(result)])
        speeds = json.loads(result.read_text())
    never, auto = (max(speeds[mode]) for mode in ("never", "auto"))
    cost = 1 - auto / never
    print(f"GPT-2 124M, random weights, {PRECISION}, preset {PRESET}, {arguments.tokens} tokens, fastest of {arguments.runs}")
    print(f"without bars  {never:7.1f} tokens/s")
    print(f"with bars     {auto:7.1f} tokens/s")
    print(f"cost          {100 * cost:7.1f} %    at most {100 * MOST_COST:.0f} %")
    sys.exit("The bars cost too much." if cost > MOST_COST else 0)


main()
