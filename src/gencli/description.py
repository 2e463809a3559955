"""What a checkpoint is and costs, as JSON values, from its headers alone. Knows no terminal and needs no torch."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gencli.errors import GencliError, UsageError
from gencli.formats import open_checkpoint
from gencli.models import family

if TYPE_CHECKING:
    from gencli.formats import Checkpoint

WEIGHT_BYTES = {"float32": 4, "float16": 2}
DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
BUFFERS = re.compile(r"(.*\.)?(attn\.(bias|masked_bias)|inv_freq)")  # causal masks and angles, which nobody trained
LONGEST_CARD = 1 << 16  # bytes; the licence stands at its top


def described_or_why(name: str, path: Path) -> dict[str, Any]:
    """A checkpoint's facts, or why it has none: one damaged checkpoint does not hide the others."""
    try:
        return {**describe(open_checkpoint(path)), "name": name, "error": None}
    except GencliError as error:
        return {"name": name, "path": str(path), "error": str(error)}


def describe(checkpoint: Checkpoint, length: int | None = None) -> dict[str, Any]:
    """A checkpoint's facts as JSON values; `length` positions of its context for the memory (None: all).

    Memory is that of weights and KV cache in bytes; activations come on top. Raises `RunError` for a
    checkpoint of an unknown kind, `UsageError` for a length that its context does not hold.
    """
    config = checkpoint.config
    facts = family(config).describe(config)
    if length is not None and length > facts.context:
        raise UsageError(f"--context must be at most {facts.context}, the context of {checkpoint.name}, not {length}.")
    positions, parameters = length or facts.context, _parameters(checkpoint)
    cache = facts.cache_bytes * positions
    stated = config.get("architectures") or [config.get("model_type")]
    return {
        "name": checkpoint.name,
        "path": str(checkpoint.path),
        "architecture": str(stated[0]),
        "parameters": parameters,
        "context": facts.context,
        "vocabulary": facts.vocab_size,
        "layers": facts.layers,
        "kv_heads": facts.kv_heads,
        "head_dim": facts.head_dim,
        "dtypes": _dtypes(checkpoint),
        "bytes": checkpoint.bytes,
        "kv_cache_bytes_per_token": facts.cache_bytes,
        "memory": {
            "positions": positions,
            "kv_cache_bytes": cache,
            **{name: parameters * size + cache for name, size in WEIGHT_BYTES.items()},
        },
        "licence": licence(checkpoint.path / "README.md"),
    }


def _parameters(checkpoint: Checkpoint) -> int:
    """The numbers that were trained: no buffers, and a head that is tied to the embeddings counts once."""
    config = checkpoint.config
    tied = config.get("tie_word_embeddings", config.get("model_type") == "gpt2")
    left_out = [name for name in checkpoint.headers if BUFFERS.fullmatch(name) or (tied and name == "lm_head.weight")]
    return sum(math.prod(header.shape) for name, header in checkpoint.headers.items() if name not in left_out)


def _dtypes(checkpoint: Checkpoint) -> dict[str, int]:
    """How many numbers of each type the files hold, the most first."""
    held: Counter[str] = Counter()
    for header in checkpoint.headers.values():
        held[DTYPES.get(header.dtype, header.dtype)] += math.prod(header.shape)
    return dict(held.most_common())


def licence(card: Path) -> str | None:
    """What a model card names as its licence in the block between two lines `---` at its top, if it does."""
    try:
        with card.open("rb") as file:
            text = file.read(LONGEST_CARD).decode("utf-8", "replace")
    except OSError:
        return None
    block = re.match(r"---[ \t]*\r?\n(.*?)\n---", text, re.DOTALL)
    line = block and re.search(r"^licen[cs]e:[ \t]*(\S.*)$", block[1], re.MULTILINE)
    return line[1].strip().strip("\"'") if line else None
