"""The Mixtral family: a Llama block whose MLP is a mixture of experts. Knows no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from gencli.models import Settings
from gencli.models._block import BlockConfig, ExpertNames, Mixture, mixtures, window_size
from gencli.models._building import BlockModel

NAMES = ExpertNames("block_sparse_moe", gate="w1", up="w3", down="w2")


class Mixtral(BlockModel):
    """Mixtral (Jiang et al. 2024, arXiv:2401.04088)."""

    architectures: ClassVar[tuple[str, ...]] = ("MixtralForCausalLM",)
    model_types: ClassVar[tuple[str, ...]] = ("mixtral",)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> BlockConfig:
        settings = Settings(values)
        block = BlockConfig.read(settings, theta=1e6, eps=1e-5, context=131072)
        mixture = Mixture(
            count=settings.whole("num_local_experts", default=8),
            chosen=settings.whole("num_experts_per_tok", default=2),
            width=block.mlp_width,
            normalised=True,
            names=NAMES,
        )
        return replace(block, mixtures=mixtures(mixture, (True,) * block.layers), windows=(window_size(settings),) * block.layers)
