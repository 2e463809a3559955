"""Float16 holds half the bytes and loses what float16 loses, nothing more."""

from __future__ import annotations

import pytest
import torch

from gencli import compiled
from gencli.models import RandomTensors, Weights
from gencli.models.gpt2 import Gpt2, Gpt2Config
from gencli.precisions.float16 import Float16
from gencli.precisions.float32 import Float32

needs_fbgemm = pytest.mark.skipif("fbgemm" not in torch.backends.quantized.supported_engines, reason="this processor has no FBGEMM")


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=[False, True], ids=["packed", "compiled"])
def float16(request: pytest.FixtureRequest) -> Float16:
    """Without and with the extra `fast`."""
    if request.param and not compiled.available():
        pytest.skip("the extra `fast` is not installed, or not for this machine")
    return Float16(fast=request.param)


@needs_fbgemm
@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_weights_are_rounded_and_activations_are_not(float16: Float16, rows: int, biased: bool, transposed: bool) -> None:
    weight = random(70, 50).t() if transposed else random(50, 70)
    bias, x = random(50) if biased else None, random(rows, 70)
    expected = x.double() @ weight.half().double().t() + (bias.double() if bias is not None else 0)
    got = float16.linear(weight, bias)(x)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), expected, atol=1e-4, rtol=1e-5)


@needs_fbgemm
@pytest.mark.parametrize("tied", [True, False])
def test_a_whole_model_is_that_of_its_rounded_weights(float16: Float16, tied: bool) -> None:
    config = Gpt2Config(vocab_size=40, context=16, width=32, layers=2, heads=4, mlp_width=64, tied=tied)
    layout = config.layout()

    class Rounded(RandomTensors):
        def __getitem__(self, name: str) -> torch.Tensor:
            return super().__getitem__(name).half()

    ids = torch.arange(10)[None]
    half, full = (
        Gpt2(config, Weights(Rounded(layout, torch.Generator().manual_seed(0), spread=0.3), layout), each)(ids)
        for each in (float16, Float32())
    )
    torch.testing.assert_close(half, full, atol=1e-4, rtol=0)


@needs_fbgemm
def test_a_table_takes_two_bytes_a_number() -> None:
    assert Float16().hold(random(6, 4)).nbytes == 6 * 4 * Float16.bytes_per_weight == 48


@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_on_other_devices_activations_are_rounded_too(rows: int, biased: bool, transposed: bool) -> None:
    weight = random(70, 50).t() if transposed else random(50, 70)
    bias, x = random(50) if biased else None, random(rows, 70)
    product = x.half().double() @ weight.half().double().t()
    got = Float16("cuda").linear(weight, bias)(x)  # what a GPU is given, computed here
    assert got.dtype == torch.float32
    # the product is rounded once more: half a step of 11 bits
    assert ((got - product - (0 if bias is None else bias)).abs() <= product.abs() * 2**-11 + 1e-4).all()
