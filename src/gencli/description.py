"""What a checkpoint is and costs, as JSON values, from its headers alone. Knows no terminal and needs no torch."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gencli.catalogue import Listed, store_of
from gencli.errors import GencliError, RunError, UsageError
from gencli.fitting import WEIGHT_BYTES, need_of, parameters_of
from gencli.formats import open_checkpoint, read_json
from gencli.machine import available_memory
from gencli.models import family

if TYPE_CHECKING:
    from gencli.formats import Checkpoint

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
TEMPLATES = ("chat_template.jinja", "chat_template.json")
LONGEST_CARD = 1 << 16  # bytes; the licence stands at its top


def described_or_why(each: Listed) -> dict[str, Any]:
    """A checkpoint's facts, or why it has none: one damaged checkpoint does not hide the others."""
    place = {"name": each.name, "from": each.store, "shadowed": each.shadowed is not None, "shadowed_by": each.shadowed}
    try:
        return {**describe(open_checkpoint(each.path)), **place, "error": None}
    except GencliError as error:
        return {**place, "path": str(each.path), "error": str(error)}


def describe(checkpoint: Checkpoint, length: int | None = None) -> dict[str, Any]:
    """A checkpoint's facts as JSON values; `length` positions of its context for the memory (None: all).

    Memory is that of weights and KV cache in bytes; activations come on top. Raises `RunError` for a
    checkpoint of an unknown kind, `UsageError` for a length that its context does not hold.
    """
    config = checkpoint.config
    facts = family(config).describe(config)
    if length is not None and length > facts.context:
        raise UsageError(f"--context must be at most {facts.context}, the context of {checkpoint.name}, not {length}.")
    positions = length or facts.context
    stated = config.get("architectures") or [config.get("model_type")]
    return {
        "name": checkpoint.name,
        "path": str(checkpoint.path),
        "from": store_of(checkpoint.path),
        "architecture": str(stated[0]),
        "parameters": parameters_of(checkpoint),
        "context": facts.context,
        "vocabulary": facts.vocab_size,
        "layers": facts.layers,
        "kv_heads": facts.kv_heads,
        "head_dim": facts.head_dim,
        "dtypes": _dtypes(checkpoint),
        "bytes": checkpoint.bytes,
        "kv_cache_bytes_per_token": facts.cache_bytes,
        "memory": _memory(checkpoint, positions),
        "chat_template": has_chat_template(checkpoint),
        "licence": licence_of(checkpoint),
    }


def _memory(checkpoint: Checkpoint, positions: int) -> dict[str, Any]:
    """Weights and cache in every precision, what there is, and the precisions that fit in it with room to compute."""
    needs = {precision: need_of(checkpoint, precision, positions=positions) for precision in WEIGHT_BYTES}
    available = available_memory()
    return {
        "positions": positions,
        "kv_cache_bytes": needs["float32"].cache,
        **{precision: need.weights + need.cache for precision, need in needs.items()},
        "available": available and available.bytes,
        "fits": [precision for precision, need in needs.items() if available is None or need.total <= available.bytes],
    }


def has_chat_template(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint says how a conversation is written for it."""
    if checkpoint.vocabulary is not None:
        return bool(checkpoint.vocabulary.chat_template)
    folder = checkpoint.tokenizer_files
    if any((folder / name).exists() for name in TEMPLATES):
        return True
    try:
        return bool(read_json(folder / "tokenizer_config.json").get("chat_template"))
    except RunError:
        return False


def _dtypes(checkpoint: Checkpoint) -> dict[str, int]:
    """How many numbers of each type the files hold, the most first."""
    held: Counter[str] = Counter()
    for name, header in checkpoint.headers.items():
        kind = checkpoint.stored.get(name, header.dtype)
        held[DTYPES.get(kind, kind)] += math.prod(header.shape)
    return dict(held.most_common())


def licence_of(checkpoint: Checkpoint) -> str | None:
    """What its model card names as its licence, else its configuration."""
    folder = checkpoint.path.parent if checkpoint.path.is_file() else checkpoint.path
    stated = checkpoint.config.get("license")
    return licence(folder / "README.md") or (stated if isinstance(stated, str) else None)


def licence(card: Path) -> str | None:
    """What a model card names as its licence in the block between two lines `---` at its top, if it does."""
    try:
        with card.open("rb") as file:
            text = file.read(LONGEST_CARD).decode("utf-8", "replace")
    except OSError:
        return None
    block = re.match(r"---[ \t]*\r?\n(.*?)\n---", text, re.DOTALL)
    if block is None:
        return None
    # one licence, or a list of them; of "other" the name stands beside it
    name, stated = (
        re.search(rf"^{key}:[ \t]*(?:\r?\n[ \t]*-[ \t]*)?(\S.*)$", block[1], re.MULTILINE) for key in ("license_name", "licen[cs]e")
    )
    found = name if name and (stated is None or stated[1].strip() == "other") else stated
    return found[1].strip().strip("\"'") if found else None
