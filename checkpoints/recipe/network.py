"""The network that is trained: Llama's layout in torch, under Hugging Face's names. Knows no text, file or optimiser."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Size:
    """What a network costs: `width` = heads x head width; `context` in tokens."""

    vocabulary: int = 4096
    width: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 4
    mlp: int = 640
    context: int = 512
    theta: float = 10000.0
    epsilon: float = 1e-5

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Size:
        """The size that a Hugging Face config.json of the family llama tells."""
        heads = int(config["num_attention_heads"])
        theta = config.get("rope_theta") or config.get("rope_parameters", {}).get("rope_theta", 10000.0)
        return cls(
            int(config["vocab_size"]),
            int(config["hidden_size"]),
            int(config["num_hidden_layers"]),
            heads,
            int(config.get("num_key_value_heads", heads)),
            int(config["intermediate_size"]),
            int(config["max_position_embeddings"]),
            float(theta),
            float(config.get("rms_norm_eps", 1e-5)),
        )


class Norm(nn.Module):
    """Root mean square norm with a gain per channel."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.epsilon)


class Attention(nn.Module):
    """Causal attention with rotary positions; key heads may be shared by query heads."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width = size.heads, size.kv_heads, size.width // size.heads
        self.q_proj = nn.Linear(size.width, size.width, bias=False)
        self.k_proj = nn.Linear(size.width, self.kv_heads * self.head_width, bias=False)
        self.v_proj = nn.Linear(size.width, self.kv_heads * self.head_width, bias=False)
        self.o_proj = nn.Linear(size.width, size.width, bias=False)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        rows, length, width = x.shape
        q = rotate(self.q_proj(x).view(rows, length, self.heads, -1).transpose(1, 2), turn)  # (rows, heads, length, head width)
        k = rotate(self.k_proj(x).view(rows, length, self.kv_heads, -1).transpose(1, 2), turn)
        v = self.v_proj(x).view(rows, length, self.kv_heads, -1).transpose(1, 2)
        if self.kv_heads != self.heads:
            k, v = (each.repeat_interleave(self.heads // self.kv_heads, dim=1) for each in (k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        result: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(rows, length, width))
        return result


class Mlp(nn.Module):
    """SwiGLU."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(size.width, size.mlp, bias=False)
        self.up_proj = nn.Linear(size.width, size.mlp, bias=False)
        self.down_proj = nn.Linear(size.mlp, size.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return result


class Layer(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.input_layernorm = Norm(size.width, size.epsilon)
        self.self_attn = Attention(size)
        self.post_attention_layernorm = Norm(size.width, size.epsilon)
        self.mlp = Mlp(size)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), turn)
        result: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return result


class Network(nn.Module):
    """Ids (rows, length) -> logits (rows, length, vocabulary); the embedding is the head as well."""

    cos: Tensor
    sin: Tensor

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.embed_tokens = nn.Embedding(size.vocabulary, size.width)
        self.layers = nn.ModuleList(Layer(size) for _ in range(size.layers))
        self.norm = Norm(size.width, size.epsilon)
        cos, sin = turns(size)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self._begin()

    def _begin(self) -> None:
        """Small embeddings, orthogonal-scale matrices, and layers that add nothing yet."""
        nn.init.normal_(self.embed_tokens.weight, std=0.02)
        for name, matrix in self.layers.named_parameters():
            if matrix.dim() == 2:
                nothing = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.zeros_(matrix) if nothing else nn.init.normal_(matrix, std=0.6 / math.sqrt(matrix.shape[1]))

    def hidden(self, ids: Tensor) -> Tensor:
        length = ids.shape[1]
        turn = (self.cos[:length], self.sin[:length])
        x: Tensor = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, turn)
        result: Tensor = self.norm(x)
        return result

    def forward(self, ids: Tensor) -> Tensor:
        return F.linear(self.hidden(ids), self.embed_tokens.weight)

    def loss(self, ids: Tensor, aims: Tensor) -> Tensor:
        """The mean cross entropy in nats of aims (rows, length) after ids (rows, length)."""
        return F.cross_entropy(self(ids).flatten(0, 1), aims.flatten())


def turns(size: Size) -> tuple[Tensor, Tensor]:
    """Cosines and sines (context, head width / 2) of the rotary positions."""
    half = size.width // size.heads // 2
    pace = size.theta ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.outer(torch.arange(size.context, dtype=torch.float64), pace)
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions as Hugging Face lays them out: channel i turns with channel i + half."""
    cos, sin = turn
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)
