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
from functools import partial
from itertools import islice, product
from pathlib import Path

from alternating import report, speeds
from shapes import SHAPES, write_huggingface

VOCABULARY = SHAPES["gpt2-124m"].vocabulary
MOST_COST = 0.03  # of decode speed


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


def measure(folder: Path, runs: int, tokens: int, threads: int | None, into: Path) -> None:
    """In a process whose stdout and stderr are a terminal: tokens a second of `runs` runs without bars and with them."""
    from gencli import Detail
    from gencli.renderers import Together
    from gencli.renderers.bars import Bars
    from gencli.renderers.text import Text
    from gencli.terminal import Messages, Output

    def mode(name: str) -> tuple[Together, Detail | None]:
        output, messages = Output(), Messages()
        bars = Bars(name, messages, output)
        return Together(Text(output), bars), None if name == "never" else Detail(wanted=bars.wants_detail)

    modes = {"without bars": partial(mode, "never"), "with bars": partial(mode, "auto")}
    into.write_text(json.dumps(speeds(folder, modes, runs, tokens, threads)))


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
        folder, result = Path(name) / "gpt2", Path(name) / "result.json"
        write_huggingface(SHAPES["gpt2-124m"], folder)
        write_tokenizer(folder)
        size = ["--runs", str(arguments.runs), "--tokens", str(arguments.tokens)]
        size += ["--threads", str(arguments.threads)] if arguments.threads else []
        on_a_terminal([sys.executable, __file__, *size, "--measure", str(folder), str(result)])
        found = json.loads(result.read_text())
    cost = report(found, MOST_COST, arguments.tokens)
    sys.exit("The bars cost too much." if cost > MOST_COST else 0)


main()
