"""The Mistral family: a Llama block whose layers see a window of positions. Knows no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from gencli.models import Settings
from gencli.models._block import BlockConfig, window_size
from gencli.models._building import BlockModel


class Mistral(BlockModel):
    """Mistral 7B and its successors (Jiang et al. 2023, arXiv:2310.06825)."""

    architectures: ClassVar[tuple[str, ...]] = ("MistralForCausalLM",)
    model_types: ClassVar[tuple[str, ...]] = ("mistral",)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> BlockConfig:
        settings = Settings(values)
        block = BlockConfig.read(settings, context=131072)
        return replace(block, windows=(window_size(settings),) * block.layers)
