"""How a GGUF file says what rotary positions are: their base, what part of a head they turn, how they are stretched. Knows nothing else.

Two ways of stretching lie in tensors: the factors of Llama 3, whose four settings are found again from them, and of Phi 3.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from functools import partial
from typing import Any

from gencli.errors import RunError, shown
from gencli.formats._gguf_file import GGUFFile
from gencli.formats._gguf_metadata import Metadata, meant

MOST_FACTORS = 4096  # half a head
# of all that are published
LLAMA_3: dict[str, Any] = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def rotary_settings(file: GGUFFile, metadata: Metadata, config: dict[str, Any]) -> dict[str, Any]:
    """The settings of rotary positions: their base, what part of a head they turn, how they are stretched."""

    def number(key: str) -> float | None:
        return metadata.number(metadata.own(f"rope.{key}"))

    found: dict[str, Any] = {"rope_theta": number("freq_base") or 10000.0}
    width, heads = metadata.whole(metadata.own("embedding_length")) or 0, metadata.whole(metadata.own("attention.head_count")) or 0
    head = metadata.whole(metadata.own("attention.key_length")) or width // max(1, heads)
    turned = metadata.whole(metadata.own("rope.dimension_count"))
    if turned and head and turned != head:
        found["partial_rotary_factor"] = turned / head
    if config["model_type"] == "gpt_neox":
        found["rotary_emb_base"], found["rotary_pct"] = found["rope_theta"], found.get("partial_rotary_factor", 1.0)
    kind = metadata.text(metadata.own("rope.scaling.type"))
    if kind in ("linear", "yarn"):
        scaling: dict[str, Any] = {"rope_type": kind, "factor": number("scaling.factor")}
        original = metadata.whole(metadata.own("rope.scaling.original_context_length"))
        found["rope_scaling"] = scaling | ({"original_max_position_embeddings": original} if original else {})
    elif kind not in (None, "none", "longrope"):
        known = "none, linear, yarn, longrope"
        raise RunError(f"{metadata.path}: rotary positions stretched by {shown(kind)} are not known; known are {known}.")
    if "rope_freqs.weight" in file.tensors:
        found["rope_scaling"] = _llama_3(file, found["rope_theta"])
    if "rope_factors_long.weight" in file.tensors and "rope_factors_short.weight" in file.tensors:
        original = metadata.whole(metadata.own("rope.scaling.original_context_length"))
        both = {f"{kind}_factor": factors(file, f"rope_factors_{kind}.weight") for kind in ("long", "short")}
        found["rope_scaling"] = {"rope_type": "longrope", **both}
        found |= {"original_max_position_embeddings": original} if original else {}
    return found


def factors(file: GGUFFile, name: str) -> list[float]:
    """The numbers of a small float32 tensor. Raises `RunError` where it is none."""
    held = file.tensors[name]
    if held.kind != "F32" or held.size > 4 * MOST_FACTORS:
        raise RunError(f"{held.file}: tensor {shown(name)} holds no factors of rotary positions.")
    with open(held.file, "rb") as stream:
        data = os.pread(stream.fileno(), held.size, held.begin)
    return [meant(each) for each in struct.unpack(f"<{held.size // 4}f", data)]


def llama_3_factors(base: float, count: int, settings: Mapping[str, Any]) -> list[float]:
    """By what each of `count` frequencies is divided: 1 for fast ones, `factor` for slow ones, smoothly in between."""
    found, factor, low = [], settings["factor"], settings["low_freq_factor"]
    for place in range(count):
        turns = settings["original_max_position_embeddings"] * base ** (-place / count) / (2 * math.pi)  # within the original context
        share = (turns - low) / (settings["high_freq_factor"] - low)
        found.append(1 / (1 / factor + (1 - 1 / factor) * min(1.0, max(0.0, share))))
    return found


def _llama_3(file: GGUFFile, base: float) -> dict[str, Any]:
    held = factors(file, "rope_freqs.weight")
    settings = {"rope_type": "llama3", "factor": round(max(held, default=1.0), 3), **LLAMA_3}
    due = llama_3_factors(base, len(held), settings) if 1 <= base < math.inf and 1 <= settings["factor"] < math.inf else []
    if len(due) != len(held) or not all(map(partial(math.isclose, rel_tol=1e-3), held, due)):
        raise RunError(f"{file.path}: the factors in rope_freqs.weight are not those of Llama 3, which are the only known ones.")
    return settings
