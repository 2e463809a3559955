"""The Phi-3 family: a Llama block of fused weights, with LongRoPE and partly rotated heads. Knows no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from gencli.models import Settings
from gencli.models._block import BlockConfig, window_size
from gencli.models._building import BlockModel


class Phi3(BlockModel):
    """Phi-3, 3.5 and 4 (Abdin et al. 2024, arXiv:2404.14219)."""

    architectures: ClassVar[tuple[str, ...]] = ("Phi3ForCausalLM",)
    model_types: ClassVar[tuple[str, ...]] = ("phi3",)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> BlockConfig:
        settings = Settings({"original_max_position_embeddings": 4096, **values})
        block = BlockConfig.read(settings, eps=1e-5, context=4096, partial=1.0)
        return replace(block, fused=True, windows=(window_size(settings),) * block.layers)
