"""The Qwen 3 family: a Llama block whose queries and keys are normed head by head. Knows no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from gencli.models import Settings
from gencli.models._block import BlockConfig, upper_windows
from gencli.models._building import BlockModel


class Qwen3(BlockModel):
    """Qwen 3 (Yang et al. 2025, arXiv:2505.09388)."""

    architectures: ClassVar[tuple[str, ...]] = ("Qwen3ForCausalLM",)
    model_types: ClassVar[tuple[str, ...]] = ("qwen3",)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> BlockConfig:
        settings = Settings(values)
        block = BlockConfig.read(settings, head_dim=128, context=32768)
        bias = settings.flag("attention_bias", False)
        return replace(block, head_norms="head", qkv_bias=bias, out_bias=bias, windows=upper_windows(settings, block.layers))
