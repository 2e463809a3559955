"""Checkpoints as lines: a table of many, and the facts of one. Knows no terminal: it is told how wide to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gencli.catalogue import DEFAULT_CHECKPOINT
from gencli.description import WEIGHT_BYTES
from gencli.errors import sized
from gencli.tables import table
from gencli.terminal import visible


def checkpoint_table(found: Sequence[dict[str, Any]], width: int | None) -> str:
    """What `description.described_or_why` told of each, a line each."""
    return table(("checkpoint", "architecture", "parameters", "context", "size", "path"), [_row(each) for each in found], width)


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    name = f"{each['name']} (default)" if each["name"] == DEFAULT_CHECKPOINT else each["name"]
    if each["error"]:
        return name, "-", "-", "-", "-", each["error"]
    return name, each["architecture"], f"{each['parameters']:,}", f"{each['context']:,}", sized(each["bytes"]), each["path"]


def description_lines(facts: dict[str, Any]) -> list[str]:
    """What `description.describe` told, a fact a line."""
    memory, total = facts["memory"], sum(facts["dtypes"].values())
    dtypes = ", ".join(name if count == total else f"{name} {100 * count / total:.3g} %" for name, count in facts["dtypes"].items())
    weights = " or ".join(f"{sized(memory[name])} ({name})" for name in WEIGHT_BYTES)
    lines = [
        ("name", facts["name"]),
        ("path", facts["path"]),
        ("architecture", facts["architecture"]),
        ("parameters", f"{facts['parameters']:,}"),
        ("context", f"{facts['context']:,} positions"),
        ("vocabulary", f"{facts['vocabulary']:,} tokens"),
        ("layers", f"{facts['layers']}, with {facts['kv_heads']} key-value heads of {facts['head_dim']}"),
        ("stored as", f"{dtypes}, {sized(facts['bytes'])}"),
        ("KV cache", f"{facts['kv_cache_bytes_per_token']:,} bytes a token (float32)"),
        ("memory", f"{weights} at {memory['positions']:,} positions, {sized(memory['kv_cache_bytes'])} of it the KV cache"),
        ("licence", facts["licence"] or "its card names none"),
    ]
    return [f"{name:13} {visible(str(value), on_one_line=True)}" for name, value in lines]
