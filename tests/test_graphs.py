"""A recorded step gives what a plain one gives: the same operations on the same memory, whatever the lengths are by then."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from families import FAMILIES, settings_of
from gencli import graphs
from gencli.decoder import Decoder
from gencli.graphs import Graphs
from gencli.models import Model, RandomTensors, Weights
from gencli.precisions.float32 import Float32
from gencli.registry import find
from gencli.transformer import Transformer

Work = Callable[[], Tensor]
SOON = ("gpt2", "llama", "mistral")  # the others take as long again, each


def model_of(name: str) -> Model:
    family = find("models", name)
    layout = (config := family.read(settings_of(name, 0))).layout()
    model: Model = family(config, Weights(RandomTensors(layout, torch.Generator().manual_seed(0), spread=0.3), layout), Float32())
    return model


def network(model: Model) -> Transformer:
    found: Transformer = model._network  # type: ignore[attr-defined]
    return found


@pytest.fixture(autouse=True)
def finite(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is set to 0, as a device's cache is: what is masked must be a number."""
    monkeypatch.setattr(torch, "empty", torch.zeros)


class Tape:
    """Stands for a CUDA graph: the operations of one run, repeated on the memory that it used, without the Python in between."""

    def __init__(self) -> None:
        self.recorded = 0

    def __call__(self, work: Work) -> Work:
        work()
        self.recorded += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again: Work = make_fx(work)()
        return again


def prefilled(decoder: Decoder, ids: list[int], rows: int = 1) -> Tensor:
    logits = decoder.prefill(ids, rows)
    assert logits is not None
    return logits


def texts(decoder: Decoder) -> Tensor:
    """Logits of every step of rows that differ in length, leave, come back and are rewound."""
    found = [prefilled(decoder, [3, 1, 4], rows=2)]
    found += [decoder.step([each, each + 1]) for each in range(6)]
    decoder.join([7, 8, 9, 2, 3])
    found += [decoder.step([each, each + 3, each + 5]) for each in range(5)]
    decoder.rewind(7, 1)
    found += [decoder.step([each, 2, 4]) for each in range(9)]
    decoder.keep([2, 0])
    found += [decoder.step([each, 3]) for each in range(4)]
    return torch.cat(found)


@pytest.mark.parametrize("name", [*SOON, *(pytest.param(each, marks=pytest.mark.slow) for each in FAMILIES if each not in SOON)])
def test_every_family_steps_as_without(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(graphs, "TOGETHER", 20)
    model = model_of(name)
    plain = texts(Decoder(model))
    tape = Tape()
    # a router's choice is made in Python: such a family is never recorded, and computed as it is here
    moves = network(model).experts
    network(model).graphs = Graphs(network(model)._one_more, (lambda work: work) if moves else tape)
    torch.testing.assert_close(texts(Decoder(model)), plain, atol=1e-4, rtol=1e-5)
    assert tape.recorded == (0 if moves else 4)  # for two rows, three, three beyond 20 positions, and two again


def test_what_cannot_be_recorded_is_computed_as_it_is() -> None:
    model, asked = model_of("llama"), []

    def refuse(work: Work) -> Work:
        asked.append(work)
        raise RuntimeError("operation not permitted when stream is capturing")

    plain = texts(Decoder(model))
    network(model).graphs = Graphs(network(model)._one_more, refuse)
    torch.testing.assert_close(texts(Decoder(model)), plain, atol=2e-5, rtol=1e-5)
    assert len(asked) == 1


def test_a_device_without_memory_says_so() -> None:
    model = model_of("llama")

    def refuse(work: Work) -> Work:
        raise torch.OutOfMemoryError("CUDA out of memory")

    network(model).graphs = Graphs(network(model)._one_more, refuse)
    decoder = Decoder(model)
    prefilled(decoder, [1, 2])
    with pytest.raises(torch.OutOfMemoryError):
        decoder.step([3])


def test_a_graph_goes_with_its_cache() -> None:
    model = model_of("llama")
    network(model).graphs = held = Graphs(network(model)._one_more, lambda work: work)
    decoder = Decoder(model)
    prefilled(decoder, [1, 2])
    decoder.step([3])
    assert len(held._held) == 1
    prefilled(decoder, [1, 2])  # a new cache
    assert len(held._held) == 0


def test_a_processor_needs_no_graphs() -> None:
    assert network(model_of("llama")).graphs is None
