"""`gencli checkpoints`: what checkpoints there are, and what one is and costs. Reads headers only, no weights."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gencli.errors import GencliError, UsageError
from gencli.option_types import Command, Group, Name, Number, OneOf
from gencli.options import complete_checkpoints

if TYPE_CHECKING:
    from gencli.formats import Checkpoint

WEIGHT_BYTES = {"float32": 4, "float16": 2}
DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
BUFFERS = re.compile(r"(.*\.)?(attn\.(bias|masked_bias)|inv_freq)")  # causal masks and angles, which nobody trained
LONGEST_CARD = 1 << 16  # bytes; the licence stands at its top
CHECKPOINT = Name(complete_checkpoints, files=True)
LIST_EXAMPLES = """\b
Examples:
  gencli checkpoints list
  gencli checkpoints list --format json
"""
INFO_EXAMPLES = """\b
Examples:
  gencli checkpoints info
  gencli checkpoints info ./my-checkpoint --context 128
  gencli checkpoints info --format json | jq .parameters
"""


@click.group(cls=Group)
def checkpoints() -> None:
    """Models on this machine: list them, tell what one is and costs."""


@checkpoints.command("list", cls=Command, epilog=LIST_EXAMPLES)
@click.option("--format", "form", type=OneOf("table", "json"), default="table", help="How to write the list. [default: table]")
def list_checkpoints(form: str) -> None:
    """Every checkpoint that has a name.

    Yours come before the shipped ones.
    """
    from gencli.loading import checkpoint_names
    from gencli.tables import table, width_of
    from gencli.terminal import Output

    found = [_described_or_why(name, path) for name, path in sorted(checkpoint_names().items())]
    output = Output()
    if form == "json":
        output.write(json.dumps(found, ensure_ascii=False, indent=2) + "\n")
        return
    rows = [_row(each) for each in found]
    output.write(table(("checkpoint", "architecture", "parameters", "context", "size", "path"), rows, width_of(output)))


def _described_or_why(name: str, path: Path) -> dict[str, Any]:
    """A checkpoint's facts, or why it has none: one damaged checkpoint does not hide the others."""
    from gencli.formats import open_checkpoint

    try:
        return {**describe(open_checkpoint(path)), "name": name, "error": None}
    except GencliError as error:
        return {"name": name, "path": str(path), "error": str(error)}


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    from gencli.loading import DEFAULT_CHECKPOINT

    name = f"{each['name']} (default)" if each["name"] == DEFAULT_CHECKPOINT else each["name"]
    if each["error"]:
        return name, "-", "-", "-", "-", each["error"]
    return name, each["architecture"], f"{each['parameters']:,}", f"{each['context']:,}", _size(each["bytes"]), each["path"]


@checkpoints.command("info", cls=Command, epilog=INFO_EXAMPLES)
@click.argument(
    "checkpoint", metavar="[NAME|PATH]", required=False, envvar="GENCLI_CHECKPOINT", type=Name(complete_checkpoints, files=True)
)
@click.option("--context", "length", type=Number("at least 1", low=1), metavar="N", help="Tell the memory at N positions. [default: all]")
@click.option("--format", "form", type=OneOf("text", "json"), default="text", help="How to write it. [default: text]")
def info(checkpoint: str | None, length: int | None, form: str) -> None:
    """What a checkpoint is and costs.

    Without a name it is the embedded one. Memory is that of weights and KV cache; a run needs a little more.
    """
    from gencli.formats import open_checkpoint
    from gencli.loading import find_checkpoint
    from gencli.terminal import Output

    facts = describe(open_checkpoint(find_checkpoint(checkpoint)), length)
    text = json.dumps(facts, ensure_ascii=False, indent=2) if form == "json" else "\n".join(_lines(facts))
    Output().write(text + "\n")


def describe(checkpoint: Checkpoint, length: int | None = None) -> dict[str, Any]:
    """A checkpoint's facts as JSON values; `length` positions of its context for the memory (None: all).

    Memory is that of weights and KV cache in bytes; activations come on top. Raises `RunError` for a
    checkpoint of an unknown kind, `UsageError` for a length that its context does not hold.
    """
    from gencli.models import family

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


def _lines(facts: dict[str, Any]) -> list[str]:
    from gencli.terminal import visible

    memory, total = facts["memory"], sum(facts["dtypes"].values())
    dtypes = ", ".join(name if count == total else f"{name} {100 * count / total:.3g} %" for name, count in facts["dtypes"].items())
    weights = " or ".join(f"{_size(memory[name])} ({name})" for name in WEIGHT_BYTES)
    lines = [
        ("name", facts["name"]),
        ("path", facts["path"]),
        ("architecture", facts["architecture"]),
        ("parameters", f"{facts['parameters']:,}"),
        ("context", f"{facts['context']:,} positions"),
        ("vocabulary", f"{facts['vocabulary']:,} tokens"),
        ("layers", f"{facts['layers']}, with {facts['kv_heads']} key-value heads of {facts['head_dim']}"),
        ("stored as", f"{dtypes}, {_size(facts['bytes'])}"),
        ("KV cache", f"{facts['kv_cache_bytes_per_token']:,} bytes a token (float32)"),
        ("memory", f"{weights} at {memory['positions']:,} positions, {_size(memory['kv_cache_bytes'])} of it the KV cache"),
        ("licence", facts["licence"] or "its card names none"),
    ]
    return [f"{name:13} {visible(str(value), on_one_line=True)}" for name, value in lines]


def _size(count: int) -> str:
    """Bytes in words, three digits: 17.5 MB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"
