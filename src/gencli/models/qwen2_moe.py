"""The Qwen 2 MoE family: Qwen 2's block with a mixture of experts beside one that takes every token. Knows no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from gencli.models import Settings
from gencli.models._block import BlockConfig, Mixture, by_layer, mixtures, sparse_layers, window_size, windows
from gencli.models._building import BlockModel


class Qwen2Moe(BlockModel):
    """Qwen 1.5 MoE and Qwen 2 MoE (Yang et al. 2024, arXiv:2407.10671)."""

    architectures: ClassVar[tuple[str, ...]] = ("Qwen2MoeForCausalLM",)
    model_types: ClassVar[tuple[str, ...]] = ("qwen2_moe",)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> BlockConfig:
        settings = Settings(values)
        block = BlockConfig.read(settings, context=32768)
        last = settings.whole("max_window_layers", default=28, least=0)
        mixture = Mixture(
            count=settings.whole("num_experts", "num_local_experts", default=60),
            chosen=settings.whole("num_experts_per_tok", default=4),
            width=settings.whole("moe_intermediate_size", default=1408),
            normalised=settings.flag("norm_topk_prob", False),
            shared=settings.whole("shared_expert_intermediate_size", default=5632),
        )
        sliding = by_layer(settings, block.layers, lambda layer: layer % 2 == 0 and layer < last)
        return replace(
            block,
            qkv_bias=settings.flag("qkv_bias", True),
            mixtures=mixtures(mixture, sparse_layers(settings, block.layers)),
            windows=windows(sliding, window_size(settings, switch=False)),
        )
