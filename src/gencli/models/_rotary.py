"""What a config.json says of rotary positions, in the spellings of every year. Knows no family and needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gencli.errors import RunError, shown
from gencli.models import LARGEST_SIZE, Bounds, Settings
from gencli.rotary import KINDS, Scaling, longrope_amplitude, yarn_amplitude

BASES, FACTORS, SHARES = Bounds(1, 1e30), Bounds(1e-6, 1e6), Bounds(0, 1)
PLAIN = Scaling()
SPELLINGS: Mapping[object, str] = MappingProxyType({None: "default", "su": "longrope"})


@dataclass(frozen=True)
class Rotation:
    """The base of a layer's frequencies, and how they are scaled."""

    theta: float = 10000.0
    scaling: Scaling = PLAIN


def read_rotation(
    settings: Settings, head_dim: int, *, theta: float = 10000.0, partial: float | None = None, group: Settings | None = None
) -> Rotation:
    """The rotation that a config asks for; `theta` and `partial` hold where it is silent, `group` is its mapping if not the usual one.

    `partial` None: every number of a head turns.

    Raises `RunError` for a kind that is not known, or settings that it cannot do with.
    """
    stated = settings.group("rope_scaling", "rope_parameters") if group is None else group
    if nested := [key for key, value in stated.values.items() if isinstance(value, dict)]:
        raise RunError(f"config.json: rotary positions by layer type ({shown(nested[0])}) are not supported for this architecture.")
    theta = stated.number("rope_theta", default=settings.number("rope_theta", default=theta, bounds=BASES), bounds=BASES)
    key = "partial_rotary_factor"
    share = stated.number(key, default=settings.number(key, default=partial or 1.0, bounds=SHARES), bounds=SHARES)
    if partial is None and share != 1:
        raise RunError(f"config.json: {key} is not supported for this architecture; every number of a head is rotated.")
    dim = int(head_dim * share)
    if head_dim % 2 or dim % 2 or dim < 2:
        raise RunError(f"config.json: a head of {head_dim} numbers, of which {dim} are rotated, has no halves to rotate.")
    kind = _kind(stated)
    plain = None if dim == head_dim else dim
    return Rotation(theta, Scaling(dim=plain) if kind == "default" else _scaling(kind, stated, settings, dim, plain, theta))


def reach(settings: Settings, stated: int) -> int:
    """The positions that a model reaches when its config states `stated`: some scaled ones state what they were trained on."""
    group = settings.group("rope_scaling", "rope_parameters")
    kind = _kind(group)
    if kind not in ("dynamic", "yarn"):
        return stated
    factor = group.number("factor", default=1.0, bounds=FACTORS)
    return max(stated, min(LARGEST_SIZE, int(_original(group, settings, stated) * factor)))


def _kind(stated: Settings) -> str:
    name = stated.values.get("rope_type", stated.values.get("type"))
    kind = SPELLINGS.get(name, name) if name is None or isinstance(name, str) else name
    if not isinstance(kind, str) or kind not in KINDS:
        raise RunError(f"config.json: rotary positions of the type {shown(name)} are not supported. Choices: {', '.join(KINDS)}.")
    return kind


def _original(stated: Settings, settings: Settings, context: int) -> int:
    key = "original_max_position_embeddings"
    return settings.whole(key, default=stated.whole(key, default=context))


def _scaling(kind: str, stated: Settings, settings: Settings, dim: int, plain: int | None, theta: float) -> Scaling:
    context = settings.whole("max_position_embeddings", default=2048)
    # what dynamic calls the original length is simply the stated one
    original = context if kind == "dynamic" else _original(stated, settings, context)
    known: dict[str, Any] = {"kind": kind, "dim": plain, "original": original}
    if kind == "longrope":
        known |= {name: stated.numbers(f"{name}_factor", dim // 2, FACTORS) for name in ("short", "long")}
        factor = stated.number("factor", default=context / original, bounds=FACTORS)
        amplitude = stated.number("attention_factor", default=longrope_amplitude(factor, original), bounds=FACTORS)
        return Scaling(**known, amplitude=amplitude)
    if kind != "yarn" and stated.values.get("factor") is None:
        raise RunError(f"config.json: rotary positions of the type {kind!r} need a factor.")
    known["factor"] = stated.number("factor", default=context / original, bounds=FACTORS)
    if kind == "dynamic" and (dim < 4 or known["factor"] < 1):
        raise RunError("config.json: rotary positions of the type 'dynamic' need a factor from 1 on and 4 rotated numbers a head.")
    if kind == "llama3":
        known |= {
            "low": stated.number("low_freq_factor", default=1.0, bounds=FACTORS),
            "high": stated.number("high_freq_factor", default=4.0, bounds=FACTORS),
        }
        if not known["low"] < known["high"]:
            raise RunError("config.json: low_freq_factor must be less than high_freq_factor.")
    if kind == "yarn":
        known |= _yarn(stated, known["factor"], theta)
    return Scaling(**known)


def _yarn(stated: Settings, factor: float, theta: float) -> dict[str, Any]:
    if theta <= 1:
        raise RunError("config.json: rotary positions of the type 'yarn' need a rope_theta greater than 1.")
    amplitude = yarn_amplitude(factor)
    if stated.values.get("mscale") and stated.values.get("mscale_all_dim"):
        above, below = (stated.number(key, default=1.0, bounds=FACTORS) for key in ("mscale", "mscale_all_dim"))
        amplitude = yarn_amplitude(factor, above) / yarn_amplitude(factor, below)
    return {
        "low": stated.number("beta_slow", default=1.0, bounds=FACTORS),
        "high": stated.number("beta_fast", default=32.0, bounds=FACTORS),
        "truncate": stated.flag("truncate", True),
        "amplitude": stated.number("attention_factor", default=amplitude, bounds=FACTORS),
    }
