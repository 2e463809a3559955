"""Bfloat16 rounds weights and activations, and keeps float32's range."""

from __future__ import annotations

import pytest
import torch

from gencli import compiled
from gencli.precisions.bfloat16 import Bfloat16


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["product", "compiled"])
def way(request: pytest.FixtureRequest) -> str:
    """Without and with the extra `fast`."""
    if request.param == "compiled" and not compiled.available():
        pytest.skip("the extra `fast` is not installed, or not for this machine")
    return str(request.param)


def bfloat16(way: str) -> Bfloat16:
    return Bfloat16(fast=way == "compiled")


@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_weights_and_activations_are_rounded_and_the_bias_is_not(way: str, rows: int, biased: bool, transposed: bool) -> None:
    weight = random(70, 50).t() if transposed else random(50, 70)
    bias, x = random(50) if biased else None, random(rows, 70)
    product = (x if way == "compiled" else x.bfloat16()).double() @ weight.bfloat16().double().t()
    expected = product + (bias.double() if bias is not None else 0)
    got = bfloat16(way).linear(weight, bias)(x)
    assert got.dtype == torch.float32
    # the product is rounded once more: half a step of 8 bits
    assert ((got - expected).abs() <= product.abs() * 2**-8 + 1e-5).all()


def test_large_numbers_stay_numbers(way: str) -> None:
    assert bfloat16(way).linear(torch.full((3, 4), 1e30))(torch.ones(1, 4)).isfinite().all()


@pytest.mark.parametrize("damage", [torch.nan, torch.inf])
def test_what_is_no_number_shows(way: str, damage: float) -> None:
    x = random(1, 40)
    x[0, 3] = damage
    assert not bfloat16(way).linear(random(20, 40))(x).isfinite().any()


def test_a_product_of_many_weights_is_shared_by_threads(way: str) -> None:
    weight, x, threads = random(1000, 300), random(1, 300), torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(bfloat16(way).linear(weight)(x))
    finally:
        torch.set_num_threads(threads)
    for each in found:
        torch.testing.assert_close(each, x @ weight.bfloat16().float().t(), atol=0.3, rtol=2**-7)


def test_a_table_takes_two_bytes_a_number() -> None:
    assert Bfloat16().hold(random(6, 4)).nbytes == 6 * 4 * Bfloat16.bytes_per_weight == 48
    stored = random(6, 4).bfloat16()
    assert Bfloat16().hold(stored).data_ptr() == stored.data_ptr()
