"""The Qwen 3 MoE family: Qwen 3's block, whose MLP is a mixture of experts. Knows no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from gencli.models import Settings
from gencli.models._block import BlockConfig, Mixture, mixtures, sparse_layers, window_size
from gencli.models._building import BlockModel


class Qwen3Moe(BlockModel):
    """Qwen 3 MoE (Yang et al. 2025, arXiv:2505.09388)."""

    architectures: ClassVar[tuple[str, ...]] = ("Qwen3MoeForCausalLM",)
    model_types: ClassVar[tuple[str, ...]] = ("qwen3_moe",)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> BlockConfig:
        settings = Settings(values)
        block = BlockConfig.read(settings, context=32768)
        bias = settings.flag("attention_bias", False)
        mixture = Mixture(
            count=settings.whole("num_experts", "num_local_experts", default=128),
            chosen=settings.whole("num_experts_per_tok", default=8),
            width=settings.whole("moe_intermediate_size", default=768),
            normalised=settings.flag("norm_topk_prob", False),
        )
        return replace(
            block,
            head_norms="head",
            qkv_bias=bias,
            out_bias=bias,
            mixtures=mixtures(mixture, sparse_layers(settings, block.layers)),
            windows=(window_size(settings, switch=False),) * block.layers,
        )
