"""What a GPU computes stays on it, and what follows the model does not: told by tensors that know their device and hold no numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

from families import FAMILIES, settings_of
from gencli.decoder import Decoder
from gencli.errors import UsageError
from gencli.formats import Header
from gencli.models import Model, Weights
from gencli.registry import find, names

PRECISIONS = [name for name in names("precisions") if name != "int8"]
aten: Any = torch.ops.aten


class WithoutGuards(TorchFunctionMode):
    """What some of Python's own methods ask of a driver is not asked: the operations beneath them are called."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__getitem__:
            x, index = _viewed(*args)
            return x if index is None else aten.index(x, index)
        if func is Tensor.__setitem__:
            x, index = _viewed(*args[:2])
            return aten.index_put_(x, index, args[2]) if index is not None else aten.copy_(x, torch.as_tensor(args[2]))
        if func is Tensor.contiguous:
            return aten.clone(args[0], memory_format=torch.contiguous_format)
        return aten.copy_(*args) if func is Tensor.copy_ else func(*args, **(kwargs or {}))


def _viewed(x: Tensor, index: Any) -> tuple[Tensor, list[Tensor | None] | None]:
    """The part that slices and whole numbers choose, and what tensors are left to choose from it."""
    axis, tensors = 0, []
    parts = list(index if isinstance(index, tuple) else (index,))
    if any(each is ... for each in parts):
        at = next(place for place, each in enumerate(parts) if each is ...)
        parts[at : at + 1] = [slice(None)] * (x.dim() - sum(each is not None and each is not ... for each in parts))
    for each in parts:
        if isinstance(each, int):
            x = x.select(axis, each)
            continue
        if each is None:
            x = x.unsqueeze(axis)
        elif isinstance(each, slice):
            x = aten.slice(x, axis, each.start, each.stop, each.step or 1)
        tensors.append(each if isinstance(each, Tensor) else None)
        axis += 1
    return x, tensors if any(each is not None for each in tensors) else None


class OnDevice:
    """A model's tensors on a device, without numbers."""

    def __init__(self, headers: dict[str, Header], device: str) -> None:
        self.headers, self._device = headers, device

    def on(self, device: str) -> OnDevice:
        return OnDevice(self.headers, device)

    def __getitem__(self, name: str) -> Tensor:
        return torch.empty(self.headers[name].shape, dtype=torch.float16, device=self._device)


@contextmanager
def model_on(device: str, name: str, precision: str) -> Iterator[Model]:
    family = find("models", name)
    layout = (config := family.read(settings_of(name, 0))).layout()
    headers = {each: Header("F16", shape) for each, shape in layout.shapes.items()}
    with FakeTensorMode(), WithoutGuards():
        yield family(config, Weights(OnDevice(headers, device), layout), find("precisions", precision)(device))


def dense(families: Sequence[str]) -> list[str]:
    """Those without a router, whose choice needs numbers."""
    return [name for name in families if not any("expert" in key for key in settings_of(name, 0))]


EVERY = [(name, precision) for name in dense(list(FAMILIES)) for precision in PRECISIONS]
SOON = [("gpt2", "float32"), ("gpt2", "float16"), ("llama", "bfloat16"), ("qwen3", "float16")]


@pytest.mark.parametrize(
    ("name", "precision"), [*SOON, *(pytest.param(*each, marks=pytest.mark.slow) for each in EVERY if each not in SOON)]
)
def test_a_model_on_a_gpu_is_asked_and_answered_by_the_processor(name: str, precision: str) -> None:
    with model_on("cuda", name, precision) as model:
        graphs = model._network.graphs  # type: ignore[attr-defined]
        graphs._record = lambda work: work  # that needs a driver
        for steps in (graphs, None):
            model._network.graphs = steps  # type: ignore[attr-defined]
            for logits in texts(Decoder(model)):
                assert (logits.device.type, logits.dtype, logits.shape[1]) == ("cpu", torch.float32, model.vocab_size)


def texts(decoder: Decoder) -> Iterator[Tensor]:
    """Logits of rows that differ in length, leave, come back and are rewound, and along a given text."""
    first = decoder.prefill([3, 1, 4], rows=2)
    assert first is not None
    yield first
    yield decoder.step([1, 2])
    yield decoder.join([7, 8, 9, 2, 3])
    yield decoder.step([1, 2, 3])
    decoder.rewind(4, 1)
    yield decoder.step([1, 2, 3])
    decoder.keep([2, 0])
    yield decoder.step([1, 2])
    yield from decoder.follow([1, 2, 3, 4])


def test_a_tensor_on_the_wrong_device_would_be_noticed() -> None:
    with model_on("cuda", "llama", "float32") as model, pytest.raises(RuntimeError, match=r"cuda.*cpu"):
        model(torch.zeros(1, 3, dtype=torch.int64))


def test_int8_says_where_it_computes() -> None:
    with pytest.raises(UsageError, match="on processors only"):
        find("precisions", "int8")("cuda")
