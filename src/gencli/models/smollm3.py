"""The SmolLM 3 family: a Llama block of which every fourth layer has no positions. Knows no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from gencli.errors import RunError, shown
from gencli.models import Settings
from gencli.models._block import BlockConfig, by_layer, window_size, windows
from gencli.models._building import BlockModel


class Smollm3(BlockModel):
    """SmolLM 3 (Bakouch et al. 2025); layers without positions after Yang et al. 2025, arXiv:2501.18795."""

    architectures: ClassVar[tuple[str, ...]] = ("SmolLM3ForCausalLM",)
    model_types: ClassVar[tuple[str, ...]] = ("smollm3",)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> BlockConfig:
        settings = Settings(values)
        block = BlockConfig.read(settings, theta=2e6, tied=True, context=32768)
        turned = _turned(settings, block.layers)
        bias = settings.flag("attention_bias", False)
        return replace(
            block,
            qkv_bias=bias,
            out_bias=bias,
            mlp_bias=settings.flag("mlp_bias", False),
            rotations=tuple(rotation if turns else None for rotation, turns in zip(block.rotations, turned, strict=True)),
            windows=windows(by_layer(settings, block.layers, lambda layer: not turned[layer]), window_size(settings, switch=False)),
        )


def _turned(settings: Settings, layers: int) -> tuple[bool, ...]:
    """Which layers have rotary positions: those with a 1 in `no_rope_layers`, else all but every fourth."""
    stated = settings.values.get("no_rope_layers")
    if stated is None:
        interval = settings.whole("no_rope_layer_interval", default=4)
        return tuple((layer + 1) % interval != 0 for layer in range(layers))
    if not isinstance(stated, list) or len(stated) < layers or not all(type(each) is int and each in (0, 1) for each in stated):
        raise RunError(f"config.json: no_rope_layers must have a 0 or a 1 for each of {layers} layers, not {shown(stated)}.")
    return tuple(map(bool, stated[:layers]))
