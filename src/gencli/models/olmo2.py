"""The OLMo 2 family: a Llama block with norms behind its halves, and over all queries and all keys. Knows no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from gencli.models import Settings
from gencli.models._block import AFTER, BlockConfig
from gencli.models._building import BlockModel


class Olmo2(BlockModel):
    """OLMo 2 (OLMo team 2025, arXiv:2501.00656)."""

    architectures: ClassVar[tuple[str, ...]] = ("Olmo2ForCausalLM",)
    model_types: ClassVar[tuple[str, ...]] = ("olmo2",)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> BlockConfig:
        settings = Settings(values)
        bias = settings.flag("attention_bias", False)
        return replace(BlockConfig.read(settings, eps=1e-5), norms=AFTER, head_norms="all", qkv_bias=bias, out_bias=bias)
