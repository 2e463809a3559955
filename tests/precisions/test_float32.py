"""Float32 is the exact product, by whichever of torch's ways it goes."""

from __future__ import annotations

import pytest
import torch

from gencli.precisions.float32 import WORTH_ONEDNN, Float32


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(5, 7), (1024, 512)])
@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_linear_layer_is_its_definition(shape: tuple[int, int], rows: int, biased: bool, transposed: bool, dtype: torch.dtype) -> None:
    weight = (random(*shape[::-1]).t() if transposed else random(*shape)).to(dtype)
    bias = random(shape[0]).to(dtype) if biased else None
    x = random(rows, shape[1])
    expected = x.double() @ weight.double().t() + (bias.double() if bias is not None else 0)
    got = Float32().linear(weight, bias)(x)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), expected, atol=1e-4, rtol=1e-5)


def test_both_ways_are_tested() -> None:
    assert 5 * 7 < WORTH_ONEDNN <= 1024 * 512


def test_what_is_float32_is_not_copied() -> None:
    table = random(6, 4)
    assert Float32().hold(table).data_ptr() == table.data_ptr()
    assert Float32().hold(table.half()).dtype == torch.float32
    assert Float32.bytes_per_weight == 4
