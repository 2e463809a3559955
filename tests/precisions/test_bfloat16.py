"""Bfloat16 rounds weights and activations, and keeps float32's range."""

from __future__ import annotations

import pytest
import torch

from gencli.precisions.bfloat16 import Bfloat16


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_weights_and_activations_are_rounded_and_the_bias_is_not(rows: int, biased: bool, transposed: bool) -> None:
    weight = random(70, 50).t() if transposed else random(50, 70)
    bias, x = random(50) if biased else None, random(rows, 70)
    product = x.bfloat16().double() @ weight.bfloat16().double().t()
    expected = product + (bias.double() if bias is not None else 0)
    got = Bfloat16().linear(weight, bias)(x)
    assert got.dtype == torch.float32
    # the product is rounded once more: half a step of 8 bits
    assert ((got - expected).abs() <= product.abs() * 2**-8 + 1e-5).all()


def test_large_numbers_stay_numbers() -> None:
    assert Bfloat16().linear(torch.full((3, 4), 1e30))(torch.ones(1, 4)).isfinite().all()


def test_a_table_takes_two_bytes_a_number() -> None:
    assert Bfloat16().hold(random(6, 4)).nbytes == 6 * 4 * Bfloat16.bytes_per_weight == 48
    stored = random(6, 4).bfloat16()
    assert Bfloat16().hold(stored).data_ptr() == stored.data_ptr()
