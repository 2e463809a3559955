"""The GPT-NeoX family: layer norms, partly rotated heads, both halves of a layer side by side. Knows no files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gencli.errors import RunError
from gencli.models import MOST_LAYERS, Facts, Layout, Settings, Shape, Weights
from gencli.models._rotary import Rotation, reach, read_rotation

if TYPE_CHECKING:
    from torch import Tensor

    from gencli.attention import Linear
    from gencli.cache import KVCache
    from gencli.formats import Tensors
    from gencli.layers import Block, LayerNorm
    from gencli.precisions import Precision


@dataclass(frozen=True)
class GptNeoxConfig:
    """What a GPT-NeoX's config.json says; widths in numbers, `context` in positions."""

    vocab_size: int
    context: int
    width: int
    layers: int
    heads: int
    mlp_width: int
    eps: float
    activation: str
    rotation: Rotation
    parallel: bool
    attention_bias: bool
    tied: bool

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> GptNeoxConfig:
        """Raises `RunError` for a value of a wrong type, out of range, or not supported."""
        # older files call these two by names of their own
        settings = Settings({"rope_theta": values.get("rotary_emb_base"), "partial_rotary_factor": values.get("rotary_pct"), **values})
        width, heads = settings.whole("hidden_size"), settings.whole("num_attention_heads")
        if width % heads:
            raise RunError(f"config.json: {heads} heads cannot share a width of {width} evenly.")
        return cls(
            vocab_size=settings.whole("vocab_size"),
            context=reach(settings, settings.whole("max_position_embeddings", default=2048)),
            width=width,
            layers=settings.whole("num_hidden_layers", most=MOST_LAYERS),
            heads=heads,
            mlp_width=settings.whole("intermediate_size"),
            eps=settings.number("layer_norm_eps", default=1e-5),
            activation=settings.text("hidden_act", default="gelu"),
            rotation=read_rotation(settings, width // heads, partial=0.25),
            parallel=settings.flag("use_parallel_residual", True),
            attention_bias=settings.flag("attention_bias", True),
            tied=settings.flag("tie_word_embeddings", False),
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
        shapes: dict[str, Shape] = {"embed_in.weight": (self.vocab_size, width), "embed_out.weight": (self.vocab_size, width)}
        shapes |= {"final_layer_norm.weight": (width,), "final_layer_norm.bias": (width,)}
        linears = {
            "attention.query_key_value": (3 * width, width, self.attention_bias),
            "attention.dense": (width, width, self.attention_bias),
            "mlp.dense_h_to_4h": (self.mlp_width, width, True),
            "mlp.dense_4h_to_h": (width, self.mlp_width, True),
        }
        for layer in range(self.layers):
            prefix = f"layers.{layer}."
            for norm in ("input_layernorm", "post_attention_layernorm"):
                shapes |= {f"{prefix}{norm}.weight": (width,), f"{prefix}{norm}.bias": (width,)}
            for name, (rows, columns, biased) in linears.items():
                shapes |= {f"{prefix}{name}.weight": (rows, columns)} | ({f"{prefix}{name}.bias": (rows,)} if biased else {})
        optional = frozenset({"embed_out.weight"} if self.tied else ())
        ignored = r"layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)"
        return Layout("gpt_neox.", shapes, optional, ignored, head="embed_out.weight")

    def order(self) -> list[int]:
        """Where the rows of queries, keys and values come from: files have those of each head side by side."""
        from gencli.rotary import order

        heads, head_dim = self.heads, self.head_dim
        turned = order(head_dim, self.rotation.scaling.dim or head_dim)
        parts = (turned, turned, range(head_dim))
        return [(3 * head + part) * head_dim + row for part, rows in enumerate(parts) for head in range(heads) for row in rows]


class GptNeox:
    """GPT-NeoX and Pythia (Black et al. 2022, arXiv:2204.06745; Biderman et al. 2023, arXiv:2304.01373)."""

    architectures: ClassVar[tuple[str, ...]] = ("GPTNeoXForCausalLM",)
    model_types: ClassVar[tuple[str, ...]] = ("gpt_neox",)

    def __init__(self, config: GptNeoxConfig, weights: Weights, precision: Precision) -> None:
        from gencli.layers import Embedding, LayerNorm
        from gencli.rotary import Rotary
        from gencli.transformer import Transformer

        self.vocab_size, self.context, self.layers, self.kv_heads, self.head_dim = config.facts
        table = precision.hold(weights["embed_in.weight"])
        self.device = table.device
        self._network = Transformer(
            embedding=Embedding(table),
            blocks=[_block(config, weights, precision, f"layers.{layer}.") for layer in range(config.layers)],
            norm=LayerNorm(weights["final_layer_norm.weight"], weights["final_layer_norm.bias"], config.eps),
            head=precision.linear(table if config.tied else weights["embed_out.weight"]),
            context=config.context,
            rotary=Rotary(config.head_dim, config.rotation.theta, self.device, config.rotation.scaling),
        )
        self.horizon: Callable[[int], int] | None = self._network.horizon

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> GptNeoxConfig:
        """What a config.json says. Raises `RunError` for a value of a wrong type, out of range, or not supported."""
        return GptNeoxConfig.read(values)

    @classmethod
    def describe(cls, config: Mapping[str, Any]) -> Facts:
        return cls.read(config).facts

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Tensors, precision: Precision) -> GptNeox:
        read = cls.read(config)
        return cls(read, Weights(tensors, read.layout()), precision)

    def __call__(self, ids: Tensor, cache: KVCache | None = None, last: bool = False, horizon: int | None = None) -> Tensor:
        return self._network(ids, cache, last, horizon)


def _block(config: GptNeoxConfig, weights: Weights, precision: Precision, prefix: str) -> Block:
    from gencli.attention import Attention
    from gencli.layers import MLP, Block, LayerNorm, activation

    def linear(name: str, order: list[int] | None = None) -> Linear:
        weight = weights[f"{prefix}{name}.weight"]
        bias = weights[f"{prefix}{name}.bias"] if config.attention_bias or name.startswith("mlp") else None
        if order is not None:
            weight, bias = weight[order], bias[order] if bias is not None else None
        return precision.linear(weight, bias)

    def norm(name: str) -> LayerNorm:
        return LayerNorm(weights[f"{prefix}{name}.weight"], weights[f"{prefix}{name}.bias"], config.eps)

    heads, head_dim = config.heads, config.head_dim
    qkv = linear("attention.query_key_value", config.order())
    attention = Attention(qkv, linear("attention.dense"), heads, heads, head_dim, head_dim**-0.5)
    mlp = MLP(linear("mlp.dense_h_to_4h"), activation(config.activation), linear("mlp.dense_4h_to_h"))
    return Block(norm("input_layernorm"), attention, norm("post_attention_layernorm"), mlp, parallel=config.parallel)
