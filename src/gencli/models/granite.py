"""The Granite family: a Llama block with a multiplier at every joint. Knows no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from gencli.models import Bounds, Settings
from gencli.models._block import BlockConfig
from gencli.models._building import BlockModel

MULTIPLIERS = Bounds(1e-6, 1e6)


class Granite(BlockModel):
    """Granite 3 (IBM 2024); its multipliers after Yang et al. 2022, arXiv:2203.03466."""

    architectures: ClassVar[tuple[str, ...]] = ("GraniteForCausalLM",)
    model_types: ClassVar[tuple[str, ...]] = ("granite",)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> BlockConfig:
        settings = Settings(values)
        block = BlockConfig.read(settings)
        bias = settings.flag("attention_bias", False)

        def multiplier(key: str) -> float:
            return settings.number(key, default=1.0, bounds=MULTIPLIERS)

        # each layer adds r times its result: a stream 1 / r as large, to which results are added as they are, gives
        # the same, since an RMS norm undoes the size of what it is given but for its epsilon
        residual = multiplier("residual_multiplier")
        return replace(
            block,
            qkv_bias=bias,
            out_bias=bias,
            mlp_bias=settings.flag("mlp_bias", False),
            scale=multiplier("attention_multiplier"),
            embedding_scale=multiplier("embedding_multiplier") / residual,
            eps=block.eps / residual**2,
            logit_scale=1 / multiplier("logits_scaling"),
        )
