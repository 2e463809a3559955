"""A compiled step gives what the layers give one by one, and rows do not know of each other."""

from __future__ import annotations

import pytest
import torch

from gencli import compiled
from gencli.attention import Attention
from gencli.cache import KVCache
from gencli.layers import MLP, Block, Embedding, GatedMLP, LayerNorm, RMSNorm, activation
from gencli.precisions.float32 import Float32
from gencli.registry import find, names
from gencli.rotary import Rotary
from gencli.transformer import Transformer

pytestmark = pytest.mark.skipif(not compiled.available(), reason="the extra `fast` is not installed, or not for this machine")
VOCABULARY, WIDTH, CONTEXT, LAYERS = 50, 48, 1200, 2


def transformer(
    kind: str = "float32", head_dim: int = 16, kv_heads: int = 1, gated: bool = True, act: str = "silu", rotary: bool = True
) -> Transformer:
    """A small stack of layers with random weights, its linear layers compiled."""
    generator = torch.Generator().manual_seed(0)
    precision = find("precisions", kind)(fast=True)
    heads, mlp = WIDTH // head_dim, 40

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 0.3

    def norm() -> RMSNorm | LayerNorm:
        return RMSNorm(1 + random(WIDTH), 1e-5) if gated else LayerNorm(1 + random(WIDTH), random(WIDTH), 1e-5)

    def block() -> Block:
        qkv = precision.linear(
            random((heads + 2 * kv_heads) * head_dim, WIDTH), None if gated else random((heads + 2 * kv_heads) * head_dim)
        )
        attention = Attention(qkv, precision.linear(random(WIDTH, heads * head_dim)), heads, kv_heads, head_dim, head_dim**-0.5)
        down = precision.linear(random(WIDTH, mlp))
        up = precision.linear(random(2 * mlp if gated else mlp, WIDTH), None if gated else random(mlp))
        return Block(norm(), attention, norm(), (GatedMLP if gated else MLP)(up, activation(act), down))

    return Transformer(
        embedding=Embedding(random(VOCABULARY, WIDTH)),
        blocks=[block() for _ in range(LAYERS)],
        norm=norm(),
        head=precision.linear(random(VOCABULARY, WIDTH)),
        context=CONTEXT,
        rotary=Rotary(head_dim, 10000.0, torch.device("cpu")) if rotary else None,
        positions=None if rotary else random(CONTEXT, WIDTH),
    )


@torch.inference_mode()
def both(model: Transformer, lengths: list[int], kv_heads: int, head_dim: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Logits of one more token a row after `lengths` cached ones, compiled and layer by layer, and how far the caches are apart."""
    generator = torch.Generator().manual_seed(1)
    caches = []
    for _ in range(2):
        cache = KVCache(LAYERS, len(lengths), kv_heads, CONTEXT, head_dim)
        caches.append(cache)
    for one, other in zip(*(cache.layers for cache in caches), strict=True):
        one.copy_(torch.randn(one.shape, generator=generator))
        other.copy_(one)
    for cache in caches:
        cache.lengths[:] = lengths
    ids = torch.arange(len(lengths))[:, None] * 7 % VOCABULARY
    assert model._step is not None
    fast = model(ids, caches[0], True)
    step, model._step = model._step, None
    slow = model(ids, caches[1], True)
    model._step = step
    apart = 0.0
    for one, other in zip(*(cache.layers for cache in caches), strict=True):
        for row, length in enumerate(lengths):
            apart = max(apart, float((one[:, row, :, : length + 1] - other[:, row, :, : length + 1]).abs().max()))
    assert caches[0].lengths.tolist() == caches[1].lengths.tolist() == [length + 1 for length in lengths]
    return fast, slow, apart


@pytest.mark.parametrize("lengths", [[0], [6], [7], [511], [512], [1199], [40] * 5, [3, 1100, 600, 0], [9] * 7])
@pytest.mark.parametrize(("head_dim", "kv_heads"), [(16, 1), (16, 3), (48, 1), (8, 2)])
def test_a_step_is_its_layers_one_by_one(lengths: list[int], head_dim: int, kv_heads: int) -> None:
    fast, slow, apart = both(transformer(head_dim=head_dim, kv_heads=kv_heads), lengths, kv_heads, head_dim)
    torch.testing.assert_close(fast, slow, atol=2e-5, rtol=1e-4)
    assert apart < 5e-5


@pytest.mark.parametrize("act", ["gelu", "gelu_new", "relu", "silu", "tanh"])
@pytest.mark.parametrize("gated", [True, False])
def test_every_activation_and_both_kinds_of_layers(act: str, gated: bool) -> None:
    fast, slow, _ = both(transformer(act=act, gated=gated, rotary=gated), [5, 700], 1, 16)
    torch.testing.assert_close(fast, slow, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", [name for name in names("precisions") if name != "float32"])
def test_every_precision(kind: str) -> None:
    fast, slow, _ = both(transformer(kind), [5, 20], 1, 16)
    # whole numbers of activations that differ in the last bit may round apart
    torch.testing.assert_close(fast, slow, atol=2e-3 if kind == "int8" else 2e-5, rtol=1e-3)


@pytest.mark.parametrize("kind", names("precisions"))
def test_a_row_is_the_same_to_the_bit_in_every_company(kind: str) -> None:
    model = transformer(kind)
    generator = torch.Generator().manual_seed(2)
    rows = [torch.randn(WIDTH, generator=generator) for _ in range(6)]

    def logits(count: int) -> torch.Tensor:
        cache = KVCache(LAYERS, count, 1, CONTEXT, 16)
        for layer in cache.layers:
            one = layer[:, :1]
            layer[:] = torch.arange(one.numel()).view(one.shape).remainder(7) - 3.0
        cache.lengths[:] = 30
        assert model._step is not None
        angles = model.rotary.table(31) if model.rotary else None
        return model._step.run(torch.stack(rows[:count]), cache, angles)

    alone = logits(1)
    for count in (2, 3, 4, 6):
        assert torch.equal(logits(count)[:1], alone)


def test_what_cannot_be_compiled_goes_layer_by_layer() -> None:
    narrow = transformer(head_dim=12)  # no multiple of eight
    assert narrow._step is None
    assert narrow(torch.tensor([[1, 2]]), None, True).isfinite().all()
    assert Float32(fast=False).linear(torch.ones(8, 8))(torch.ones(1, 8)).tolist() == [[8.0] * 8]


def test_what_is_no_number_shows() -> None:
    model = transformer()
    cache = KVCache(LAYERS, 2, 1, CONTEXT, 16)
    assert model._step is not None
    angles = model.rotary.table(1) if model.rotary else None
    x = torch.ones(2, WIDTH)
    x[1, 3] = torch.nan
    logits = model._step.run(x, cache, angles)
    assert logits[0].isfinite().all()
    assert logits[1].isnan().all()


def test_what_was_begun_to_compile_can_be_waited_for() -> None:
    compiled.compile_meanwhile("float32")
    assert compiled.ready()
    assert compiled.ready(0)
