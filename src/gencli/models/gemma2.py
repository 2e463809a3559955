"""The Gemma 2 family: norms around both halves, soft caps, windows in every second layer. Knows no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from gencli.models import Settings
from gencli.models._block import AROUND, BlockConfig, by_layer, window_size, windows
from gencli.models._building import BlockModel


class Gemma2(BlockModel):
    """Gemma 2 (Gemma team 2024, arXiv:2408.00118)."""

    architectures: ClassVar[tuple[str, ...]] = ("Gemma2ForCausalLM",)
    model_types: ClassVar[tuple[str, ...]] = ("gemma2",)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> BlockConfig:
        settings = Settings({"head_dim": 256, "sliding_window": 4096, **values})
        block = BlockConfig.read(settings, tied=True, context=8192)
        bias = settings.flag("attention_bias", False)
        return replace(
            block,
            norms=AROUND,
            one_more=True,
            qkv_bias=bias,
            out_bias=bias,
            activation=settings.text("hidden_activation", "hidden_act", default="gelu_pytorch_tanh"),
            scale=settings.number("query_pre_attn_scalar", default=256.0) ** -0.5,
            embedding_scale=block.width**0.5,
            windows=windows(by_layer(settings, block.layers, lambda layer: layer % 2 == 0), window_size(settings)),
            cap=settings.number_or_none("attn_logit_softcapping", 50.0),
            logit_cap=settings.number_or_none("final_logit_softcapping", 30.0),
        )
