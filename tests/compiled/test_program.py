"""A product of any size is the product, added once, and each row is the same to the bit in every company."""

from __future__ import annotations

import pytest
import torch

from gencli import compiled
from proofs import quick

pytestmark = pytest.mark.skipif(not compiled.available(), reason="the extra `fast` is not installed, or not for this machine")
ROWS = (1, 2, 3, 4, 5, 6, 7, 9, 16, 17, 48, 49, 53)  # every way in which groups of three or four leave some over


@pytest.mark.parametrize("kind", quick(["float16", "int8", "float32", "bfloat16"], 2))
@pytest.mark.parametrize(("outputs", "inputs"), [(5, 16), (8, 40), (50, 768), (97, 3080), (13, 8200)])
@pytest.mark.parametrize("add", [False, True])
def test_a_product_is_the_product(kind: str, outputs: int, inputs: int, add: bool) -> None:
    from gencli.compiled import slots as at
    from gencli.compiled.program import Table, multiply, running, weights
    from gencli.precisions.int8 import rounded

    generator = torch.Generator().manual_seed(outputs)
    weight, bias = torch.randn(outputs, inputs, generator=generator), torch.randn(outputs, generator=generator)
    scales = None
    if kind == "int8":
        weight, scales = rounded(weight)
    else:
        weight = weight.to(getattr(torch, kind))
    table = Table(kind, [multiply(weights(kind, weight, scales, bias), add=add)])
    exact = weight.double() * (1 if scales is None else scales.double()[:, None])
    x = torch.randn(max(ROWS), inputs, generator=generator)
    before = torch.randn(max(ROWS), outputs, generator=generator)
    alone: torch.Tensor | None = None
    for rows in ROWS:
        result = before[:rows].clone()
        with running:
            table.slots[0, [at.X, at.X_STRIDE, at.RESULT, at.RESULT_STRIDE]] = x.data_ptr(), inputs, result.data_ptr(), outputs
            table.run(rows)
        wanted = x[:rows].double() @ exact.T + bias + (before[:rows] if add else 0)
        torch.testing.assert_close(result.double(), wanted, atol=inputs * (5e-5 if kind == "int8" else 1e-5), rtol=1e-4)
        alone = result[0] if alone is None else alone
        assert torch.equal(result[0], alone)
