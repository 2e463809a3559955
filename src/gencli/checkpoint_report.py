"""Checkpoints as lines: a table of many, and the facts of one. Knows no terminal: it is told how wide to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gencli.catalogue import DEFAULT_CHECKPOINT
from gencli.errors import sized
from gencli.fitting import WEIGHT_BYTES
from gencli.tables import table
from gencli.terminal import visible

if TYPE_CHECKING:
    from gencli.integrity import Integrity


def checkpoint_table(found: Sequence[dict[str, Any]], width: int | None) -> str:
    """What `description.described_or_why` told of each, a line each."""
    header = ("checkpoint", "from", "architecture", "parameters", "context", "size", "path")
    return table(header, [_row(each) for each in found], width)


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    name = f"{each['name']} (default)" if each["name"] == DEFAULT_CHECKPOINT and not each["shadowed"] else each["name"]
    store = f"{each['from']}, shadowed by {each['shadowed_by']}" if each["shadowed"] else each["from"]
    if each["error"]:
        return name, store, "-", "-", "-", "-", each["error"]
    return name, store, each["architecture"], f"{each['parameters']:,}", f"{each['context']:,}", sized(each["bytes"]), each["path"]


def description_lines(facts: dict[str, Any]) -> list[str]:
    """What `description.describe` told, a fact a line."""
    memory, total = facts["memory"], sum(facts["dtypes"].values())
    dtypes = ", ".join(name if count == total else f"{name} {100 * count / total:.3g} %" for name, count in facts["dtypes"].items())
    weights = ", ".join(f"{sized(memory[name])} ({name})" for name in WEIGHT_BYTES)
    lines = [
        ("name", facts["name"]),
        ("path", facts["path"]),
        ("from", facts["from"] or "this path"),
        ("architecture", facts["architecture"]),
        ("parameters", f"{facts['parameters']:,}"),
        ("context", f"{facts['context']:,} positions"),
        ("vocabulary", f"{facts['vocabulary']:,} tokens"),
        ("layers", f"{facts['layers']}, with {facts['kv_heads']} key-value heads of {facts['head_dim']}"),
        ("stored as", f"{dtypes}, {sized(facts['bytes'])}"),
        ("KV cache", f"{facts['kv_cache_bytes_per_token']:,} bytes a token (float32)"),
        ("memory", f"{weights} at {memory['positions']:,} positions, {sized(memory['kv_cache_bytes'])} of it the KV cache"),
        ("here", _fits(memory)),
        ("chat template", "yes" if facts["chat_template"] else "no"),
        ("licence", facts["licence"] or "its card names none"),
    ]
    return [f"{name:13} {visible(str(value), on_one_line=True)}" for name, value in lines]


def _fits(memory: dict[str, Any]) -> str:
    """What the machine has, and which precisions fit in it."""
    fits = memory["fits"]
    if memory["available"] is None:
        return "the system does not tell how much memory is free"
    which = "any precision" if len(fits) == len(WEIGHT_BYTES) else " and ".join(fits) if fits else "no precision"
    return f"{sized(memory['available'])} free, which {which} fits in"


def integrity_lines(name: str, found: Integrity) -> list[str]:
    """What `integrity.check` found of a checkpoint that is whole."""
    return [
        f"{visible(name, on_one_line=True)} is whole: {found.tensors} tensors, {found.numbers:,} numbers, all of them finite.",
        *(f"{visible(file, on_one_line=True)} is as it was published." for file in found.hashed),
    ]
