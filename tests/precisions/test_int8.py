"""Int8 rounds weights by their output, and a product is that of the rounded weights, by each of its ways."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gencli import compiled
from gencli.errors import UsageError
from gencli.precisions import int8 as module
from gencli.precisions.int8 import BLOCK, Int8, exact_integers, rounded

Linear = Callable[[torch.Tensor], torch.Tensor]


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["integers", "floats", "compiled"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way a machine may compute: 8-bit activations, float32 weights for the moment, the extra `fast`."""
    if request.param == "compiled" and not compiled.available():
        pytest.skip("the extra `fast` is not installed, or not for this machine")
    if request.param == "integers" and not exact_integers():
        pytest.skip("this processor's product of 8-bit numbers saturates")
    monkeypatch.setattr(module, "exact_integers", lambda: request.param == "integers")
    return str(request.param)


def int8(way: str) -> Int8:
    return Int8(fast=way == "compiled")


LARGEST_ERROR = {"integers": 0.02, "floats": 1e-5, "compiled": 2e-4}  # of the results' deviation


@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("shape", [(50, 70), (33, 1), (1, 5), (400, 256)])
def test_a_product_is_that_of_the_rounded_weights(way: str, rows: int, biased: bool, transposed: bool, shape: tuple[int, int]) -> None:
    weight = random(*shape[::-1]).t() if transposed else random(*shape)
    bias, x = random(shape[0]) if biased else None, random(rows, shape[1])
    numbers, scales = rounded(weight)
    expected = x.double() @ (numbers.double() * scales.double()[:, None]).t() + (bias.double() if bias is not None else 0)
    got = int8(way).linear(weight, bias)(x)
    assert got.dtype == torch.float32
    error = (got - expected).square().mean().sqrt() / max(1.0, expected.square().mean().sqrt())
    assert error < LARGEST_ERROR[way]


@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False), min_size=1, max_size=40))
def test_a_weight_is_rounded_to_half_a_step(row: list[float]) -> None:
    weight = torch.tensor([row])
    numbers, scales = rounded(weight)
    assert numbers.dtype == torch.int8
    assert int(numbers.min()) >= -127
    assert ((numbers * scales[:, None] - weight).abs() <= 0.501 * scales[:, None]).all()


def test_weights_of_many_blocks_are_rounded_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, bias, x = random(70, 30), random(70), random(2, 30)
    numbers, scales = rounded(weight)
    whole = module._floats(numbers, scales, bias, x)
    monkeypatch.setattr(module, "BLOCK", 300)
    assert all(map(torch.equal, rounded(weight), (numbers, scales)))
    torch.testing.assert_close(module._floats(numbers, scales, bias, x), whole)
    assert BLOCK > 300


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("alike", [True, False])
def test_no_sum_overflows(way: str, size: float, alike: bool) -> None:
    width = 5000
    weight = torch.ones(8, width)
    x = torch.full((1, width), size) if alike else torch.zeros(1, width).index_fill_(1, torch.tensor([7]), size)
    expected = torch.full((1, 8), (width if alike else 1) * size)
    torch.testing.assert_close(int8(way).linear(weight)(x), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("rows", [1, 20])
def test_a_row_is_the_same_in_every_company(way: str, rows: int) -> None:
    product, x = int8(way).linear(random(300, 200)), random(3, 200)
    company = torch.cat([x, 1000 * random(rows, 200)])
    if way == "floats":
        torch.testing.assert_close(product(x), product(company)[:3], atol=1e-4, rtol=0)
    else:
        assert torch.equal(product(x), product(company)[:3])


@pytest.mark.parametrize("damage", [torch.nan, torch.inf])
@pytest.mark.parametrize("rows", [1, 30])
def test_what_is_no_number_shows(way: str, damage: float, rows: int) -> None:
    x = random(rows, 40)
    x[0, 3] = damage
    got = int8(way).linear(random(20, 40))(x)
    assert not got[0].isfinite().any()
    assert got[1:].isfinite().all()


def test_nothing_in_is_nothing_out(way: str) -> None:
    assert (int8(way).linear(random(20, 40))(torch.zeros(1, 40)) == 0).all()
    assert (int8(way).linear(torch.zeros(20, 40))(random(1, 40)) == 0).all()


def test_threads_do_not_matter(way: str) -> None:
    product, x, threads = int8(way).linear(random(1000, 300)), random(1, 300), torch.get_num_threads()
    found: list[torch.Tensor] = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(product(x))
    finally:
        torch.set_num_threads(threads)
    together = [threading.Thread(target=lambda: found.append(product(x))) for _ in range(4)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    for each in found:
        torch.testing.assert_close(each, found[0], atol=0 if way != "floats" else 1e-4, rtol=0)


def test_weights_take_a_byte_and_tables_stay() -> None:
    numbers, scales = rounded(random(6, 4))
    assert numbers.nbytes == 6 * 4 * Int8.bytes_per_weight
    assert scales.nbytes == 6 * 4
    table = random(6, 4).half()
    assert Int8().hold(table) is table


def test_it_needs_a_processor() -> None:
    with pytest.raises(UsageError, match="on processors only; choose float16"):
        Int8("cuda")


@pytest.mark.parametrize("installed", [pytest.param(True, marks=pytest.mark.slow), False])
def test_the_extra_is_loaded_when_asked_for_and_may_be_absent(installed: bool, tmp_path: Path) -> None:
    if installed:
        pytest.importorskip("numba")
    program = f"""
import sys, torch
if not {installed}: sys.modules["numba"] = None
from gencli.precisions.float16 import Float16
assert not sys.modules.get("numba")
from gencli.precisions.int8 import Int8
product = Int8().linear(torch.ones(40, 50))
assert torch.allclose(product(torch.ones(1, 50)), torch.tensor(50.0), rtol=0.02)
assert bool(sys.modules.get("numba")) == {installed}
"""
    # a folder for compiled code that cannot be made must not matter
    environment = {**os.environ, "NUMBA_CACHE_DIR": "/proc/nowhere", "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
