"""The Llama family: rotary positions, RMS norms, grouped heads, a gated MLP. Knows no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from gencli.models import Settings
from gencli.models._block import BlockConfig
from gencli.models._building import BlockModel


class Llama(BlockModel):
    """The Llama block (Touvron et al. 2023, arXiv:2302.13971), also of Llama 2 and 3, and of SmolLM 1 and 2."""

    architectures: ClassVar[tuple[str, ...]] = ("LlamaForCausalLM",)
    model_types: ClassVar[tuple[str, ...]] = ("llama",)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> BlockConfig:
        settings = Settings(values)
        bias = settings.flag("attention_bias", False)
        mlp_bias = settings.flag("mlp_bias", False)
        return replace(BlockConfig.read(settings), qkv_bias=bias, out_bias=bias, mlp_bias=mlp_bias)
