"""The Qwen 2 family: a Llama block with biases on queries, keys and values, and windows in its upper layers. Knows no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from gencli.models import Settings
from gencli.models._block import BlockConfig, upper_windows
from gencli.models._building import BlockModel


class Qwen2(BlockModel):
    """Qwen 2 and 2.5 (Yang et al. 2024, arXiv:2407.10671)."""

    architectures: ClassVar[tuple[str, ...]] = ("Qwen2ForCausalLM",)
    model_types: ClassVar[tuple[str, ...]] = ("qwen2",)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> BlockConfig:
        settings = Settings(values)
        block = BlockConfig.read(settings, context=32768)
        return replace(block, qkv_bias=True, windows=upper_windows(settings, block.layers))
