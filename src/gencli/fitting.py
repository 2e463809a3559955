"""Whether a checkpoint fits in memory: the arithmetic, before anything is loaded. Needs no torch where the CPU computes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gencli.errors import RunError, sized
from gencli.machine import Available, available_memory
from gencli.models import family

if TYPE_CHECKING:
    from gencli.formats import Checkpoint

# bytes a weight, as the precisions say; their files load torch
WEIGHT_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}
AUTO = "float16"  # what `auto` is at the least, for checkpoints whose size matters
SLACK_SHARE, LEAST_SLACK, MOST_SLACK = 1 / 32, 1 << 26, 1 << 31  # of the weights, and bytes: what computing takes beside them
BUFFERS = re.compile(r"(.*\.)?(attn\.(bias|masked_bias)|inv_freq)")  # causal masks and angles, which nobody trained


@dataclass(frozen=True)
class Need:
    """What a run holds in memory: weights in a precision, a KV cache of `rows` x `positions`, and slack; in bytes."""

    parameters: int
    precision: str
    rows: int
    positions: int
    cache_bytes: int  # a position

    @property
    def weights(self) -> int:
        return self.parameters * WEIGHT_BYTES[self.precision]

    @property
    def cache(self) -> int:
        return self.rows * self.positions * self.cache_bytes

    @property
    def slack(self) -> int:
        return min(max(LEAST_SLACK, int(self.weights * SLACK_SHARE)), MOST_SLACK)

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.slack


def parameters_of(checkpoint: Checkpoint) -> int:
    """The numbers that were trained: no buffers, and a head that is tied to the embeddings counts once."""
    config = checkpoint.config
    tied = config.get("tie_word_embeddings", config.get("model_type") == "gpt2")
    left_out = [name for name in checkpoint.headers if BUFFERS.fullmatch(name) or (tied and name == "lm_head.weight")]
    return sum(math.prod(header.shape) for name, header in checkpoint.headers.items() if name not in left_out)


def need_of(checkpoint: Checkpoint, precision: str, rows: int = 1, positions: int = 0) -> Need:
    """What a run of a checkpoint takes; positions beyond its context are not counted. `precision` may be "auto"."""
    facts = family(checkpoint.config).describe(checkpoint.config)
    held = AUTO if precision not in WEIGHT_BYTES else precision
    return Need(parameters_of(checkpoint), held, rows, min(positions, facts.context), facts.cache_bytes)


def refuse_what_cannot_fit(checkpoint: Checkpoint, precision: str, device: str = "cpu", rows: int = 1, positions: int = 0) -> None:
    """Raises `RunError`, with the arithmetic and what would help, for a run that the memory of `device` cannot hold."""
    available = _on_the_gpu() if device == "cuda" else available_memory()
    need = need_of(checkpoint, precision, rows, positions)
    if available is not None and need.total > available.bytes:
        raise RunError(refusal(checkpoint.name, need, available))


def refusal(name: str, need: Need, available: Available) -> str:
    """Why a checkpoint is not loaded, and what would help, in sentences."""
    each = WEIGHT_BYTES[need.precision]
    parts = [f"{sized(need.weights)} for {need.parameters:,} weights of {each} {'byte' if each == 1 else 'bytes'} ({need.precision})"]
    if need.cache:
        rows = f" x {need.rows} texts" if need.rows > 1 else ""
        parts.append(f"{sized(need.cache)} for a KV cache of {need.positions:,} positions{rows} ({sized(need.cache_bytes)} each)")
    parts.append(f"{sized(need.slack)} to compute with")
    sum_ = f"{', '.join(parts[:-1])} and {parts[-1]} make {sized(need.total)}"
    return f"{name} does not fit: {sum_}, and {sized(available.bytes)} are free {available.where}. {_help(need, available.bytes)}"


def _help(need: Need, available: int) -> str:
    smaller = [replace(need, precision=each) for each, size in WEIGHT_BYTES.items() if size < WEIGHT_BYTES[need.precision]]
    fitting = next((each for each in smaller if each.total <= available), None)
    if fitting is not None:
        return f"With --precision {fitting.precision} it takes {sized(fitting.total)}, which fits."
    left = available - need.weights - need.slack
    if need.cache_bytes and left >= need.cache_bytes:
        return f"{left // need.cache_bytes:,} positions fit: ask for fewer with --max-new-tokens or --samples."
    least = min((each.total for each in smaller), default=need.total)
    return f"It takes at least {sized(least)} in any precision: a smaller checkpoint fits, or a larger machine."


def _on_the_gpu() -> Available:
    import torch

    free, _ = torch.cuda.mem_get_info()
    return Available(free, "on the GPU")
