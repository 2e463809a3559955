"""The GPT-2 family: learned positions, layer norms, weights that lie (in, out). Knows no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gencli.errors import RunError
from gencli.models import MOST_LAYERS, Facts, Layout, RandomTensors, Settings, Shape, Weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from gencli.attention import Linear
    from gencli.cache import KVCache
    from gencli.formats import Tensors
    from gencli.layers import Block
    from gencli.precisions import Precision


@dataclass(frozen=True)
class Gpt2Config:
    """What a GPT-2's config.json says; widths in numbers, `context` in positions."""

    vocab_size: int
    context: int
    width: int
    layers: int
    heads: int
    mlp_width: int
    eps: float = 1e-5
    activation: str = "gelu_new"
    scaled: bool = True
    scaled_by_layer: bool = False
    tied: bool = True

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Gpt2Config:
        """Raises `RunError` for a value of a wrong type, out of range, or not supported."""
        settings = Settings(values)
        width, heads = settings.whole("n_embd", "hidden_size"), settings.whole("n_head", "num_attention_heads")
        if width % heads:
            raise RunError(f"config.json: {heads} heads cannot share a width of {width} evenly.")
        if settings.flag("add_cross_attention", False):
            raise RunError("config.json: add_cross_attention is not supported; this reads decoders alone.")
        return cls(
            vocab_size=settings.whole("vocab_size"),
            context=settings.whole("n_positions", "max_position_embeddings", "n_ctx"),
            width=width,
            layers=settings.whole("n_layer", "num_hidden_layers", most=MOST_LAYERS),
            heads=heads,
            mlp_width=settings.whole("n_inner", default=4 * width),
            eps=settings.number("layer_norm_epsilon", default=1e-5),
            activation=settings.text("activation_function", default="gelu_new"),
            scaled=settings.flag("scale_attn_weights", True),
            scaled_by_layer=settings.flag("scale_attn_by_inverse_layer_idx", False),
            tied=settings.flag("tie_word_embeddings", True),
        )

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    @property
    def facts(self) -> Facts:
        return Facts(self.vocab_size, self.context, self.layers, self.heads, self.head_dim)

    def layout(self) -> Layout:
        """Every tensor's name and shape."""
        width = self.width
        shapes: dict[str, Shape] = {"wte.weight": (self.vocab_size, width), "wpe.weight": (self.context, width)}
        shapes |= {"ln_f.weight": (width,), "ln_f.bias": (width,), "lm_head.weight": (self.vocab_size, width)}
        linears = {
            "attn.c_attn": (width, 3 * width),
            "attn.c_proj": (width, width),
            "mlp.c_fc": (width, self.mlp_width),
            "mlp.c_proj": (self.mlp_width, width),
        }
        for layer in range(self.layers):
            for norm in ("ln_1", "ln_2"):
                shapes |= {f"h.{layer}.{norm}.weight": (width,), f"h.{layer}.{norm}.bias": (width,)}
            for name, (columns, rows) in linears.items():
                shapes |= {f"h.{layer}.{name}.weight": (columns, rows), f"h.{layer}.{name}.bias": (rows,)}
        optional = frozenset({"lm_head.weight"} if self.tied else ())
        return Layout("transformer.", shapes, optional, ignored=r"h\.\d+\.attn\.(bias|masked_bias)")


class Gpt2:
    """GPT-2 (Radford et al. 2019, Language Models are Unsupervised Multitask Learners)."""

    architectures: ClassVar[tuple[str, ...]] = ("GPT2LMHeadModel",)
    model_types: ClassVar[tuple[str, ...]] = ("gpt2",)

    def __init__(self, config: Gpt2Config, weights: Weights, precision: Precision) -> None:
        from gencli.layers import Embedding, LayerNorm
        from gencli.transformer import Transformer

        self.vocab_size, self.context, self.layers, self.kv_heads, self.head_dim = config.facts
        table = precision.hold(weights["wte.weight"])
        self.device = table.device
        self._network = Transformer(
            embedding=Embedding(table),
            blocks=[_block(config, weights, precision, layer) for layer in range(config.layers)],
            norm=LayerNorm(weights["ln_f.weight"], weights["ln_f.bias"], config.eps),
            head=precision.linear(table if config.tied else weights["lm_head.weight"]),
            context=config.context,
            positions=weights["wpe.weight"].float(),
        )
        self.horizon = self._network.horizon  # its positions are a table

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Gpt2Config:
        """What a config.json says. Raises `RunError` for a value of a wrong type, out of range, or not supported."""
        return Gpt2Config.read(values)

    @classmethod
    def describe(cls, config: Mapping[str, Any]) -> Facts:
        return cls.read(config).facts

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Tensors, precision: Precision) -> Gpt2:
        read = cls.read(config)
        return cls(read, Weights(tensors, read.layout()), precision)

    def __call__(self, ids: Tensor, cache: KVCache | None = None, last: bool = False, horizon: int | None = None) -> Tensor:
        return self._network(ids, cache, last)


def _block(config: Gpt2Config, weights: Weights, precision: Precision, layer: int) -> Block:
    from gencli.attention import Attention
    from gencli.layers import MLP, Block, LayerNorm, activation

    def linear(name: str) -> Linear:
        # the file has (in, out): the transposed view is (out, in) without a copy
        return precision.linear(weights[f"h.{layer}.{name}.weight"].t(), weights[f"h.{layer}.{name}.bias"])

    def norm(name: str) -> LayerNorm:
        return LayerNorm(weights[f"h.{layer}.{name}.weight"], weights[f"h.{layer}.{name}.bias"], config.eps)

    scale = config.head_dim**-0.5 if config.scaled else 1.0
    if config.scaled_by_layer:
        scale /= layer + 1
    attention = Attention(linear("attn.c_attn"), linear("attn.c_proj"), config.heads, config.heads, config.head_dim, scale)
    mlp = MLP(linear("mlp.c_fc"), activation(config.activation), linear("mlp.c_proj"))
    return Block(norm("ln_1"), attention, norm("ln_2"), mlp)


def random_gpt2(config: Gpt2Config, generator: torch.Generator | None = None) -> Gpt2:
    """An untrained GPT-2, whose next-token distribution is close to flat; `generator` makes it repeatable."""
    from gencli.precisions.float32 import Float32

    layout = config.layout()
    return Gpt2(config, Weights(RandomTensors(layout, generator), layout), Float32())
