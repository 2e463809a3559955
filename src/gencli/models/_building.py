"""A described block and its tensors -> a model. Knows no family: what differs between them is in the description."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from gencli.models import Facts, Weights
from gencli.models._block import PLAIN_NAMES, BlockConfig, ExpertNames, Mixture
from gencli.models._rotary import Rotation

if TYPE_CHECKING:
    from torch import Tensor

    from gencli.attention import Attention, Linear
    from gencli.cache import KVCache
    from gencli.experts import Experts
    from gencli.formats import Tensors
    from gencli.layers import Block, GatedMLP, RMSNorm
    from gencli.precisions import Precision
    from gencli.rotary import Rotary


class BlockModel:
    """What all families of such blocks share; each says by `read` what its own block is like."""

    architectures: ClassVar[tuple[str, ...]]
    model_types: ClassVar[tuple[str, ...]]

    def __init__(self, config: BlockConfig, weights: Weights, precision: Precision) -> None:
        from gencli.layers import Embedding
        from gencli.transformer import Transformer

        self.vocab_size, self.context, self.layers, self.kv_heads, self.head_dim = config.facts
        table = precision.hold(weights["embed_tokens.weight"])
        self.device = table.device
        self._network = Transformer(
            embedding=Embedding(table, config.embedding_scale),
            blocks=[_Layer(config, weights, precision, layer).block() for layer in range(config.layers)],
            norm=_norm(config, weights["norm.weight"], config.logit_scale),
            head=precision.linear(table if config.tied else weights["lm_head.weight"]),
            context=config.context,
            rotaries=self._rotaries(config),
            cap=config.logit_cap,
        )
        self.horizon: Callable[[int], int] | None = self._network.horizon

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> BlockConfig:
        """What a config.json says. Raises `RunError` for a value of a wrong type, out of range, or not supported."""
        raise NotImplementedError

    @classmethod
    def describe(cls, config: Mapping[str, Any]) -> Facts:
        return cls.read(config).facts

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Tensors, precision: Precision) -> BlockModel:
        read = cls.read(config)
        return cls(read, Weights(tensors, read.layout()), precision)

    def __call__(self, ids: Tensor, cache: KVCache | None = None, last: bool = False, horizon: int | None = None) -> Tensor:
        return self._network(ids, cache, last, horizon)

    def _rotaries(self, config: BlockConfig) -> list[Rotary | None]:
        """The angles of each layer, the same object for layers that turn alike."""
        from gencli.rotary import Rotary

        known: dict[Rotation | None, Rotary | None] = {None: None}
        for each in config.rotations:
            if each is not None and each not in known:
                known[each] = Rotary(config.head_dim, each.theta, self.device, each.scaling)
        return [known[each] for each in config.rotations]


def _norm(config: BlockConfig, weight: Tensor, factor: float = 1.0) -> RMSNorm:
    from gencli.layers import RMSNorm

    weight = weight.float() + 1 if config.one_more else weight.float()
    return RMSNorm(weight if factor == 1 else weight * factor, config.eps)


def _over_all(norm: Linear) -> Linear:
    """A norm over all heads at once."""
    return lambda x: norm(x.flatten(2)).view(x.shape)


class _Layer:
    """One layer's weights under its prefix."""

    def __init__(self, config: BlockConfig, weights: Weights, precision: Precision, number: int) -> None:
        self.config, self.weights, self.precision, self.number = config, weights, precision, number
        self.prefix = f"layers.{number}."

    def block(self) -> Block:
        from gencli.layers import Block

        first, after_attention, second, after_mlp = (self.norm(name) if name else None for name in self.config.norms)
        mixture = self.config.mixtures[self.number]
        mlp = self.gated("mlp", PLAIN_NAMES) if mixture is None else self.experts(mixture)
        return Block(first, self.attention(), second, mlp, after_attention=after_attention, after_mlp=after_mlp)

    def norm(self, name: str) -> RMSNorm:
        return _norm(self.config, self.weights[f"{self.prefix}{name}.weight"])

    def linear(self, *names: str, order: list[int] | None = None) -> Linear:
        """One product for weights that are multiplied with the same numbers, their rows in an `order` of their own."""
        weight = self.weights.stacked(f"{self.prefix}{name}.weight" for name in names)
        biases = [f"{self.prefix}{name}.bias" for name in names]
        bias = self.weights.stacked(biases) if biases[0] in self.weights else None
        if order is not None:
            weight, bias = weight[order], bias[order] if bias is not None else None
        return self.precision.linear(weight, bias)

    def attention(self) -> Attention:
        from gencli.attention import Attention

        config, rotation = self.config, self.config.rotations[self.number]
        names = ("self_attn.qkv_proj",) if config.fused else ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
        dim = rotation.scaling.dim if rotation else None
        return Attention(
            qkv=self.linear(*names, order=self.rows(dim) if dim else None),
            out=self.linear("self_attn.o_proj"),
            heads=config.heads,
            kv_heads=config.kv_heads,
            head_dim=config.head_dim,
            scale=config.scale,
            norms=self.head_norms() if config.head_norms else None,
            clip=config.clip,
            window=config.windows[self.number],
            cap=config.cap,
        )

    def rows(self, dim: int) -> list[int]:
        """Where the rows of queries, keys and values come from, where only `dim` numbers of a head turn."""
        from gencli.rotary import order

        head_dim, turning, kv_heads = self.config.head_dim, self.config.heads + self.config.kv_heads, self.config.kv_heads
        turned = [head * head_dim + each for head in range(turning) for each in order(head_dim, dim)]
        return [*turned, *range(turning * head_dim, (turning + kv_heads) * head_dim)]

    def head_norms(self) -> tuple[Linear, Linear]:
        """The norms of queries and keys (rows, T, heads, head_dim)."""
        queries, keys = (self.norm(f"self_attn.{name}_norm") for name in ("q", "k"))
        return (queries, keys) if self.config.head_norms == "head" else (_over_all(queries), _over_all(keys))

    def gated(self, place: str, names: ExpertNames) -> GatedMLP:
        from gencli.layers import GatedMLP, activation

        both = ("gate_up_proj",) if self.config.fused else (names.gate, names.up)
        gate_up = self.linear(*(f"{place}.{name}" for name in both))
        return GatedMLP(gate_up, activation(self.config.activation), self.linear(f"{place}.{names.down}"))

    def experts(self, mixture: Mixture) -> Experts:
        from gencli.experts import Experts

        group, names = mixture.names.group, mixture.names
        experts = [self.gated(f"{group}.experts.{number}", names) for number in range(mixture.count)]
        shared = None
        if mixture.shared:
            shared = self.gated(f"{group}.shared_expert", names), self.weights[f"{self.prefix}{group}.shared_expert_gate.weight"]
        router = self.weights[f"{self.prefix}{group}.gate.weight"]
        return Experts(router, experts, mixture.chosen, mixture.normalised, shared)
