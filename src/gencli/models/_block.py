"""What a Llama-like block can be: norms, biases, windows, scales, experts. Knows no family and needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gencli.errors import RunError, shown
from gencli.models import MOST_LAYERS, Facts, Layout, Settings, Shape
from gencli.models._rotary import Rotation, reach, read_rotation

MOST_EXPERTS = 1 << 16  # of all layers together

Linears = dict[str, tuple[int, int, bool]]  # outputs, inputs and whether there is a bias, by name


class Norms(NamedTuple):
    """The norms of a layer by the names that files have for them, before and after its two halves; None where there is none."""

    before_attention: str | None = "input_layernorm"
    after_attention: str | None = None
    before_mlp: str | None = "post_attention_layernorm"
    after_mlp: str | None = None


BEFORE = Norms()
AFTER = Norms(None, "post_attention_layernorm", None, "post_feedforward_layernorm")
AROUND = Norms("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm")


class ExpertNames(NamedTuple):
    """What files call a mixture of experts, and in each expert the three products."""

    group: str = "mlp"
    gate: str = "gate_proj"
    up: str = "up_proj"
    down: str = "down_proj"


PLAIN_NAMES = ExpertNames()


@dataclass(frozen=True)
class Mixture:
    """The MLP as experts of `width` numbers, of which `chosen` take a token; `shared` is the width of one that takes all."""

    count: int
    chosen: int
    width: int
    normalised: bool
    shared: int | None = None
    names: ExpertNames = PLAIN_NAMES


@dataclass(frozen=True)
class BlockConfig:
    """What a config.json says; widths in numbers, `context` in positions. As read, it describes Llama: the rest are differences from it.

    `head_norms`: queries and keys are normed each "head" by itself, or "all" heads as one. `one_more`: norms
    multiply by 1 + weight. `fused`: files hold queries, keys and values as one weight, gate and up too. A
    layer's entry in `rotations` is None where it has no positions, in `windows` where it sees all, in
    `mixtures` where its MLP is a plain one. `cap` bounds attention's scores, `logit_cap` logits.
    """

    vocab_size: int
    context: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int
    eps: float
    activation: str
    tied: bool
    scale: float
    rotations: tuple[Rotation | None, ...]
    windows: tuple[int | None, ...]
    mixtures: tuple[Mixture | None, ...]
    norms: Norms = BEFORE
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    head_norms: str | None = None
    one_more: bool = False
    fused: bool = False
    clip: float | None = None
    cap: float | None = None
    logit_cap: float | None = None
    embedding_scale: float = 1.0
    logit_scale: float = 1.0
    outer: str = ""
    ignored: str = ""

    @classmethod
    def read(
        cls,
        settings: Settings,
        *,
        theta: float = 10000.0,
        partial: float | None = None,
        head_dim: int | None = None,
        eps: float = 1e-6,
        tied: bool = False,
        context: int = 2048,
        activation: str = "silu",
    ) -> BlockConfig:
        """What all of them state alike; the arguments hold where the config is silent. Raises `RunError` for what cannot be."""
        width, heads = settings.whole("hidden_size"), settings.whole("num_attention_heads")
        kv_heads = settings.whole("num_key_value_heads", default=heads)
        head_dim = settings.whole("head_dim", default=head_dim or max(1, width // heads))
        layers = settings.whole("num_hidden_layers", most=MOST_LAYERS)
        if heads % kv_heads:
            raise RunError(f"config.json: {heads} attention heads cannot share {kv_heads} heads of keys and values evenly.")
        return cls(
            vocab_size=settings.whole("vocab_size"),
            context=reach(settings, settings.whole("max_position_embeddings", default=context)),
            width=width,
            layers=layers,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            mlp_width=settings.whole("intermediate_size"),
            eps=settings.number("rms_norm_eps", default=eps),
            activation=settings.text("hidden_act", default=activation),
            tied=settings.flag("tie_word_embeddings", tied),
            scale=head_dim**-0.5,
            rotations=(read_rotation(settings, head_dim, theta=theta, partial=partial),) * layers,
            windows=(None,) * layers,
            mixtures=(None,) * layers,
        )

    @property
    def facts(self) -> Facts:
        return Facts(self.vocab_size, self.context, self.layers, self.kv_heads, self.head_dim)

    def layout(self) -> Layout:
        """Every tensor's name and shape."""
        shapes: dict[str, Shape] = {"embed_tokens.weight": (self.vocab_size, self.width), "norm.weight": (self.width,)}
        shapes["lm_head.weight"] = (self.vocab_size, self.width)
        for layer in range(self.layers):
            prefix = f"layers.{layer}."
            shapes |= {f"{prefix}{norm}.weight": (self.width,) for norm in self.norms if norm}
            if self.head_norms:
                one = self.head_norms == "head"
                for name, heads in (("q", self.heads), ("k", self.kv_heads)):
                    shapes[f"{prefix}self_attn.{name}_norm.weight"] = (self.head_dim if one else heads * self.head_dim,)
            for name, (rows, columns, biased) in (self._attention() | self._mlp(self.mixtures[layer])).items():
                shapes[f"{prefix}{name}.weight"] = (rows, columns)
                if biased:
                    shapes[f"{prefix}{name}.bias"] = (rows,)
        optional = frozenset({"lm_head.weight"} if self.tied else ())
        ignored = r"(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq" + (f"|{self.ignored}" if self.ignored else "")
        return Layout("model.", shapes, optional, ignored, outer=self.outer)

    def _attention(self) -> Linears:
        width, heads, kv = self.width, self.heads * self.head_dim, self.kv_heads * self.head_dim
        out = {"self_attn.o_proj": (width, heads, self.out_bias)}
        if self.fused:
            return {"self_attn.qkv_proj": (heads + 2 * kv, width, self.qkv_bias), **out}
        return {
            "self_attn.q_proj": (heads, width, self.qkv_bias),
            "self_attn.k_proj": (kv, width, self.qkv_bias),
            "self_attn.v_proj": (kv, width, self.qkv_bias),
            **out,
        }

    def _mlp(self, mixture: Mixture | None) -> Linears:
        if mixture is None and self.fused:
            inner = self.mlp_width
            return {"mlp.gate_up_proj": (2 * inner, self.width, self.mlp_bias), "mlp.down_proj": (self.width, inner, self.mlp_bias)}
        if mixture is None:
            return self._gated("mlp", self.mlp_width, PLAIN_NAMES)
        group, names = mixture.names.group, mixture.names
        linears: Linears = {f"{group}.gate": (mixture.count, self.width, False)}
        for number in range(mixture.count):
            linears |= self._gated(f"{group}.experts.{number}", mixture.width, names)
        if mixture.shared:
            linears |= self._gated(f"{group}.shared_expert", mixture.shared, names)
            linears[f"{group}.shared_expert_gate"] = (1, self.width, False)
        return linears

    def _gated(self, place: str, inner: int, names: ExpertNames) -> Linears:
        return {
            f"{place}.{names.gate}": (inner, self.width, self.mlp_bias),
            f"{place}.{names.up}": (inner, self.width, self.mlp_bias),
            f"{place}.{names.down}": (self.width, inner, self.mlp_bias),
        }


def by_layer(settings: Settings, layers: int, slides: Callable[[int], bool]) -> tuple[bool, ...]:
    """Which layers see a window only: by `layer_types`, or where the config is silent those of which `slides` says so."""
    stated = settings.values.get("layer_types")
    if stated is None:
        return tuple(slides(layer) for layer in range(layers))
    kinds = ("full_attention", "sliding_attention")
    if not isinstance(stated, list) or len(stated) != layers or not all(isinstance(each, str) and each in kinds for each in stated):
        raise RunError(f"config.json: layer_types must name one of {', '.join(kinds)} for each of {layers} layers, not {shown(stated)}.")
    return tuple(each == "sliding_attention" for each in stated)


def windows(sliding: tuple[bool, ...], size: int | None) -> tuple[int | None, ...]:
    """The window of each layer; `size` None: no layer has one."""
    return tuple(size if each else None for each in sliding)


def window_size(settings: Settings, *, switch: bool | None = None) -> int | None:
    """The positions of a window; None where there is none, or where `use_sliding_window` (by default `switch`) is off."""
    if switch is not None and not settings.flag("use_sliding_window", switch):
        return None
    return settings.whole("sliding_window") if settings.values.get("sliding_window") is not None else None


def upper_windows(settings: Settings, layers: int) -> tuple[int | None, ...]:
    """The windows of Qwen: off by default, else in the layers from `max_window_layers` on."""
    size = window_size(settings, switch=False)
    first = settings.whole("max_window_layers", default=28, least=0)
    return windows(by_layer(settings, layers, lambda layer: layer >= first), size)


def mixtures(mixture: Mixture, sparse: tuple[bool, ...]) -> tuple[Mixture | None, ...]:
    """The MLP of each layer, once the numbers are known to be possible."""
    if mixture.chosen > mixture.count:
        raise RunError(f"config.json: of {mixture.count} experts, {mixture.chosen} a token cannot be chosen.")
    if mixture.count * len(sparse) > MOST_EXPERTS:
        raise RunError(f"config.json: {len(sparse)} layers of {mixture.count} experts are more than the {MOST_EXPERTS} that are read.")
    return tuple(mixture if each else None for each in sparse)


def sparse_layers(settings: Settings, layers: int) -> tuple[bool, ...]:
    """Which layers of a Qwen have experts: every `decoder_sparse_step`-th, but for the `mlp_only_layers`."""
    step = settings.whole("decoder_sparse_step", default=1)
    plain = settings.values.get("mlp_only_layers") or []
    if not isinstance(plain, list) or not all(type(each) is int for each in plain):
        raise RunError(f"config.json: mlp_only_layers must be a list of layers, not {shown(plain)}.")
    dense = set(plain)
    return tuple(layer not in dense and (layer + 1) % step == 0 for layer in range(layers))
