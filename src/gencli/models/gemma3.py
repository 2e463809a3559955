"""The Gemma 3 family: norms around both halves and in heads, two rotary bases, windows in five of six layers. Knows no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from gencli.errors import RunError
from gencli.models import Settings
from gencli.models._block import AROUND, BlockConfig, by_layer, window_size, windows
from gencli.models._building import BlockModel
from gencli.models._rotary import Rotation, read_rotation

# what Google's own files leave out
DEFAULTS = {
    "vocab_size": 262208,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131072,
    "sliding_window": 4096,
}


class Gemma3(BlockModel):
    """Gemma 3 (Gemma team 2025, arXiv:2503.19786): the text model, alone or as a part of the one that sees images."""

    architectures: ClassVar[tuple[str, ...]] = ("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration")
    model_types: ClassVar[tuple[str, ...]] = ("gemma3_text", "gemma3")

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> BlockConfig:
        settings = Settings({**DEFAULTS, **(Settings(values).group("text_config").values or values)})
        # its rotations are read below, by the kind of a layer
        block = BlockConfig.read(Settings({**settings.values, "rope_parameters": None, "rope_scaling": None}), tied=True)
        if settings.flag("use_bidirectional_attention", False):
            raise RunError("config.json: use_bidirectional_attention is not supported; this reads models that write from left to right.")
        if settings.number_or_none("attn_logit_softcapping") is not None:
            raise RunError("config.json: attn_logit_softcapping is Gemma 2's; Gemma 3 norms its heads instead.")
        pattern = settings.whole("sliding_window_pattern", "_sliding_window_pattern", default=6)
        sliding = by_layer(settings, block.layers, lambda layer: (layer + 1) % pattern != 0)
        near, far = _rotations(settings, block.head_dim)
        bias = settings.flag("attention_bias", False)
        return replace(
            block,
            norms=AROUND,
            one_more=True,
            head_norms="head",
            qkv_bias=bias,
            out_bias=bias,
            activation=settings.text("hidden_activation", "hidden_act", default="gelu_pytorch_tanh"),
            scale=settings.number("query_pre_attn_scalar", default=256.0) ** -0.5,
            embedding_scale=block.width**0.5,
            rotations=tuple(near if each else far for each in sliding),
            windows=windows(sliding, window_size(settings)),
            logit_cap=settings.number_or_none("final_logit_softcapping"),
            outer="language_model.",
            ignored=r"(model\.)?(vision_tower|multi_modal_projector)\..*",
        )


def _rotations(settings: Settings, head_dim: int) -> tuple[Rotation, Rotation]:
    """Of layers with a window, and of the others; older configs scale only these."""
    stated = settings.group("rope_parameters")
    near = {"rope_theta": settings.number("rope_local_base_freq", default=1e4), **stated.group("sliding_attention").values}
    far = {"rope_theta": settings.number("rope_theta", default=1e6), **stated.group("full_attention").values}
    far |= settings.group("rope_scaling").values
    return read_rotation(settings, head_dim, group=Settings(near)), read_rotation(settings, head_dim, group=Settings(far))
