"""The OLMoE family: a Llama block with norms over all queries and all keys, whose MLP is a mixture of experts. Knows no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from gencli.models import Settings
from gencli.models._block import BlockConfig, Mixture, mixtures
from gencli.models._building import BlockModel


class Olmoe(BlockModel):
    """OLMoE (Muennighoff et al. 2024, arXiv:2409.02060)."""

    architectures: ClassVar[tuple[str, ...]] = ("OlmoeForCausalLM",)
    model_types: ClassVar[tuple[str, ...]] = ("olmoe",)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> BlockConfig:
        settings = Settings(values)
        block = BlockConfig.read(settings, eps=1e-5, context=4096)
        bias = settings.flag("attention_bias", False)
        mixture = Mixture(
            count=settings.whole("num_experts", "num_local_experts", default=64),
            chosen=settings.whole("num_experts_per_tok", default=8),
            width=block.mlp_width,
            normalised=settings.flag("norm_topk_prob", False),
        )
        return replace(
            block,
            head_norms="all",
            qkv_bias=bias,
            out_bias=bias,
            clip=settings.number_or_none("clip_qkv"),
            mixtures=mixtures(mixture, (True,) * block.layers),
        )
