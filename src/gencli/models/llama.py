"""The Llama family: rotary positions, RMS norms, grouped heads, a gated MLP. Knows no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gencli.errors import RunError, shown
from gencli.models import MOST_LAYERS, Facts, Layout, Settings, Shape, Weights

if TYPE_CHECKING:
    from torch import Tensor

    from gencli.attention import Linear
    from gencli.cache import KVCache
    from gencli.formats import Tensors
    from gencli.layers import Block
    from gencli.precisions import Precision


@dataclass(frozen=True)
class LlamaConfig:
    """What a Llama's config.json says; widths in numbers, `context` in positions."""

    vocab_size: int
    context: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int
    eps: float
    theta: float
    activation: str
    attention_bias: bool
    mlp_bias: bool
    tied: bool

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> LlamaConfig:
        """Raises `RunError` for a value of a wrong type, out of range, or not supported."""
        settings = Settings(values)
        width, heads = settings.whole("hidden_size"), settings.whole("num_attention_heads")
        kv_heads = settings.whole("num_key_value_heads", default=heads)
        head_dim = settings.whole("head_dim", default=max(1, width // heads))
        if heads % kv_heads:
            raise RunError(f"config.json: {heads} attention heads cannot share {kv_heads} heads of keys and values evenly.")
        if head_dim % 2:
            raise RunError(f"config.json: a head of {head_dim} numbers has no halves to rotate.")
        return cls(
            vocab_size=settings.whole("vocab_size"),
            context=settings.whole("max_position_embeddings", default=2048),
            width=width,
            layers=settings.whole("num_hidden_layers", most=MOST_LAYERS),
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            mlp_width=settings.whole("intermediate_size"),
            eps=settings.number("rms_norm_eps", default=1e-6),
            theta=rotary_base(settings),
            activation=settings.text("hidden_act", "silu"),
            attention_bias=settings.flag("attention_bias", False),
            mlp_bias=settings.flag("mlp_bias", False),
            tied=settings.flag("tie_word_embeddings", False),
        )

    @property
    def facts(self) -> Facts:
        return Facts(self.vocab_size, self.context, self.layers, self.kv_heads, self.head_dim)

    def layout(self) -> Layout:
        """Every tensor's name and shape."""
        width, heads, kv = self.width, self.heads * self.head_dim, self.kv_heads * self.head_dim
        linears: dict[str, tuple[int, int, bool]] = {
            "self_attn.q_proj": (heads, width, self.attention_bias),
            "self_attn.k_proj": (kv, width, self.attention_bias),
            "self_attn.v_proj": (kv, width, self.attention_bias),
            "self_attn.o_proj": (width, heads, self.attention_bias),
            "mlp.gate_proj": (self.mlp_width, width, self.mlp_bias),
            "mlp.up_proj": (self.mlp_width, width, self.mlp_bias),
            "mlp.down_proj": (width, self.mlp_width, self.mlp_bias),
        }
        shapes: dict[str, Shape] = {"embed_tokens.weight": (self.vocab_size, width), "norm.weight": (width,)}
        shapes["lm_head.weight"] = (self.vocab_size, width)
        for layer in range(self.layers):
            shapes[f"layers.{layer}.input_layernorm.weight"] = (width,)
            shapes[f"layers.{layer}.post_attention_layernorm.weight"] = (width,)
            for name, (rows, columns, biased) in linears.items():
                shapes[f"layers.{layer}.{name}.weight"] = (rows, columns)
                if biased:
                    shapes[f"layers.{layer}.{name}.bias"] = (rows,)
        optional = frozenset({"lm_head.weight"} if self.tied else ())
        return Layout("model.", shapes, optional, ignored=r"(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")


def rotary_base(settings: Settings) -> float:
    """The base of the rotary frequencies, in either spelling; scaled kinds are refused with a `RunError`."""
    rotary = settings.group("rope_parameters", "rope_scaling")
    kind = rotary.values.get("rope_type", rotary.values.get("type"))
    if kind not in (None, "default"):
        raise RunError(f"config.json: rotary positions of the type {shown(kind)} are not supported yet; supported is 'default'.")
    if rotary.number("partial_rotary_factor", default=settings.number("partial_rotary_factor", default=1.0)) != 1:
        raise RunError("config.json: partial_rotary_factor is not supported; every number of a head is rotated.")
    return rotary.number("rope_theta", default=settings.number("rope_theta", default=10000.0))


class Llama:
    """The Llama block (Touvron et al. 2023, arXiv:2302.13971)."""

    architectures: ClassVar[tuple[str, ...]] = ("LlamaForCausalLM",)
    model_types: ClassVar[tuple[str, ...]] = ("llama",)

    def __init__(self, config: LlamaConfig, weights: Weights, precision: Precision) -> None:
        from gencli.attention import Rotary
        from gencli.layers import Embedding, RMSNorm, Transformer

        self.vocab_size, self.context, self.layers, self.kv_heads, self.head_dim = config.facts
        table = precision.hold(weights["embed_tokens.weight"])
        self.device = table.device
        self._network = Transformer(
            embedding=Embedding(table),
            blocks=[_block(config, weights, precision, f"layers.{layer}.") for layer in range(config.layers)],
            norm=RMSNorm(weights["norm.weight"], config.eps),
            head=precision.linear(table if config.tied else weights["lm_head.weight"]),
            context=config.context,
            rotary=Rotary(config.head_dim, config.theta, self.device),
        )

    @classmethod
    def describe(cls, config: Mapping[str, Any]) -> Facts:
        return LlamaConfig.read(config).facts

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Tensors, precision: Precision) -> Llama:
        read = LlamaConfig.read(config)
        return cls(read, Weights(tensors, read.layout()), precision)

    def __call__(self, ids: Tensor, cache: KVCache | None = None, last: bool = False) -> Tensor:
        return self._network(ids, cache, last)


def _block(config: LlamaConfig, weights: Weights, precision: Precision, prefix: str) -> Block:
    from gencli.attention import Attention
    from gencli.layers import Block, GatedMLP, RMSNorm, activation

    def linear(*names: str) -> Linear:
        """One product for weights that are multiplied with the same numbers."""
        biases = [f"{prefix}{name}.bias" for name in names]
        bias = weights.stacked(biases) if biases[0] in weights else None
        return precision.linear(weights.stacked(f"{prefix}{name}.weight" for name in names), bias)

    attention = Attention(
        qkv=linear("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        out=linear("self_attn.o_proj"),
        heads=config.heads,
        kv_heads=config.kv_heads,
        head_dim=config.head_dim,
        scale=config.head_dim**-0.5,
    )
    return Block(
        first_norm=RMSNorm(weights[f"{prefix}input_layernorm.weight"], config.eps),
        attention=attention,
        second_norm=RMSNorm(weights[f"{prefix}post_attention_layernorm.weight"], config.eps),
        mlp=GatedMLP(linear("mlp.gate_proj", "mlp.up_proj"), activation(config.activation), linear("mlp.down_proj")),
    )
