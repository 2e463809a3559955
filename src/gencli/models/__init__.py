"""The shelf of models: a config and tensors -> logits. Here is their contract; one file holds one family.

A family reads Hugging Face names and knows neither files nor another family. Its file imports no torch
at its top, so that a checkpoint can be described without it. What a checkpoint says is checked here
before anything is built: every setting's type and range, every tensor's name and shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from gencli.errors import RunError, nearest, shown
from gencli.formats import Header
from gencli.registry import find, names

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from gencli.cache import KVCache
    from gencli.formats import Tensors
    from gencli.precisions import Precision

LARGEST_SIZE = 1 << 31  # of a vocabulary, a context, a width: beyond it is no model, but a damaged file
LARGEST_NUMBER = 1e30  # of a base, a scale, an epsilon: float32 holds its square root's square
MOST_LAYERS = 4096
READABLE = ("F32", "F16", "BF16")

Shape = tuple[int, ...]


class Facts(NamedTuple):
    """The measures of a model: `context` in positions, `head_dim` numbers a head, `kv_heads` heads a layer."""

    vocab_size: int
    context: int
    layers: int
    kv_heads: int
    head_dim: int

    @property
    def cache_bytes(self) -> int:
        """Bytes of the KV cache a position: keys and values of all layers in float32."""
        return 2 * self.layers * self.kv_heads * self.head_dim * 4


class Model(Protocol):
    """What every model offers: the measures of `Facts`, and logits for token ids.

    Where its rotary angles depend on the length of a text, `horizon` tells up to which length a text keeps the
    angles that it has at a given one; keys of one horizon are of no use to another.
    """

    vocab_size: int
    context: int
    layers: int
    kv_heads: int
    head_dim: int
    device: torch.device
    horizon: Callable[[int], int] | None

    def __call__(self, ids: Tensor, cache: KVCache | None = None, last: bool = False, horizon: int | None = None) -> Tensor:
        """Logits (rows, T, vocabulary) in float32 for `ids` (rows, T) int64; with `last` only (rows, 1, vocabulary).

        With a cache the ids stand after what it holds, and it holds them afterwards. `horizon` is that of the
        text which they are a part of; None where they are its end. Raises `UsageError` where they would stand
        beyond the context.
        """
        ...


class Family(Protocol):
    """What every family offers: `architectures` and `model_types` are what config.json calls it."""

    architectures: ClassVar[tuple[str, ...]]
    model_types: ClassVar[tuple[str, ...]]

    @classmethod
    def describe(cls, config: Mapping[str, Any]) -> Facts:
        """The model's measures, without its tensors. Raises `RunError` for a config that cannot be."""
        ...

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Tensors, precision: Precision) -> Model:
        """The model, with every tensor accounted for. Raises `RunError` that names what is wrong."""
        ...


def family(config: Mapping[str, Any]) -> Family:
    """The family that config.json names; raises `RunError` that lists what is known and the nearest."""
    shelf: list[Family] = [find("models", name) for name in names("models")]
    stated = config.get("architectures")
    if isinstance(stated, list) and stated:
        known = {name: each for each in shelf for name in each.architectures}
        word = next((name for name in stated if isinstance(name, str) and name in known), stated[0])
    else:
        known = {name: each for each in shelf for name in each.model_types}
        word = config.get("model_type")
    if isinstance(word, str) and word in known:
        return known[word]
    meant = nearest(word[:100], known) if isinstance(word, str) else None
    hint = f" The nearest is {meant}." if meant else ""
    raise RunError(f"config.json: the architecture {shown(word)} is not known.{hint} Choices: {', '.join(sorted(known))}.")


class Bounds(NamedTuple):
    """The least and the largest number that a setting may be; of a `least` of 0 it must be greater."""

    least: float
    most: float

    def __str__(self) -> str:
        if self.least == 0:
            return "greater than 0" if self.most == LARGEST_NUMBER else f"greater than 0, at most {self.most:g}"
        return f"from {self.least:g} to {self.most:g}"

    def hold(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.least <= value <= self.most and value > 0


POSITIVE = Bounds(0, LARGEST_NUMBER)


class Settings:
    """The values of a config.json, each read under its names in turn and checked for type and range."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def whole(self, *keys: str, default: int | None = None, least: int = 1, most: int = LARGEST_SIZE) -> int:
        """A whole number from `least` to `most`; raises `RunError` where it is neither stated nor has a default."""
        key, value = self._find(keys)
        if value is None and default is not None:
            return default
        if type(value) is not int or not least <= value <= most:
            raise RunError(f"config.json: {key} must be a whole number from {least} to {most}, not {shown(value)}.")
        return value

    def number(self, *keys: str, default: float, bounds: Bounds = POSITIVE) -> float:
        """A number within bounds."""
        key, value = self._find(keys)
        if value is None:
            return default
        if not bounds.hold(value):
            raise RunError(f"config.json: {key} must be a number {bounds}, not {shown(value)}.")
        return float(value)

    def number_or_none(self, key: str, default: float | None = None) -> float | None:
        """A number greater than 0; None where null says that there is none."""
        if self.values.get(key, default) is None:
            return None
        return self.number(key, default=default or 1.0)

    def numbers(self, key: str, count: int, bounds: Bounds = POSITIVE) -> tuple[float, ...]:
        """A list of `count` numbers within bounds."""
        value = self.values.get(key)
        if not isinstance(value, list) or len(value) != count or not all(map(bounds.hold, value)):
            raise RunError(f"config.json: {key} must be a list of {count} numbers {bounds}, not {shown(value)}.")
        return tuple(map(float, value))

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise RunError(f"config.json: {key} must be true or false, not {shown(value)}.")
        return value

    def text(self, *keys: str, default: str) -> str:
        key, value = self._find(keys)
        if value is None:
            return default
        if not isinstance(value, str):
            raise RunError(f"config.json: {key} must be a name, not {shown(value)}.")
        return value

    def group(self, *keys: str) -> Settings:
        """A mapping within the config, empty where it is absent."""
        key, value = self._find(keys)
        if value is not None and not isinstance(value, dict):
            raise RunError(f"config.json: {key} must be a mapping, not {shown(value)}.")
        return Settings(value or {})

    def _find(self, keys: tuple[str, ...]) -> tuple[str, Any]:
        """The first key that has a value, and that value; else the first key and None."""
        return next(((key, self.values[key]) for key in keys if self.values.get(key) is not None), (keys[0], None))


@dataclass(frozen=True)
class Layout:
    """The tensors that a family expects: their `shapes` by name without the base prefix (with it: `prefix`).

    `optional` ones may be left out (a tied head); names that match `ignored` are passed over (buffers
    that follow from the config). The `head` has no base prefix. Where the model is a part of a larger
    one, all of its names may begin with `outer`.
    """

    prefix: str
    shapes: Mapping[str, Shape]
    optional: frozenset[str] = frozenset()
    ignored: str = "(?!)"
    head: str = "lm_head.weight"
    outer: str = ""


class Weights:
    """A checkpoint's tensors under a family's names, all of them there, none of them unknown."""

    def __init__(self, tensors: Tensors, layout: Layout) -> None:
        """Raises `RunError` for a tensor that is missing, unexpected, misshapen or of a type that is not read."""
        self._tensors = tensors
        self._names: dict[str, str] = {}
        for full, header in tensors.headers.items():
            name = full.removeprefix(layout.outer).removeprefix(layout.prefix)
            if re.fullmatch(layout.ignored, name):
                continue
            if name not in layout.shapes or name in self._names:
                raise RunError(f"the checkpoint holds a tensor that its config.json does not account for: {shown(full)}.")
            _check(full, header, layout.shapes[name])
            self._names[name] = full
        for name in layout.shapes:
            if name not in self._names and name not in layout.optional:
                full = name if name == layout.head else layout.prefix + name
                raise RunError(f"the checkpoint lacks the tensor {full} of shape {list(layout.shapes[name])}.")

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[self._names[name]]

    def stacked(self, names: Iterable[str]) -> Tensor:
        """Several weights as one, their rows under each other."""
        import torch

        found = [self[name] for name in names]
        return found[0] if len(found) == 1 else torch.cat(found)


def _check(name: str, header: Header, shape: Shape) -> None:
    if header.shape != shape:
        raise RunError(f"tensor {shown(name)} has the shape {list(header.shape)}, and config.json asks for {list(shape)}.")
    if header.dtype not in READABLE:
        raise RunError(f"tensor {shown(name)} is of the type {header.dtype}; read are {', '.join(READABLE)}.")


class RandomTensors:
    """Untrained weights for a layout: norms that change nothing, all else normal with the deviation `spread`."""

    def __init__(self, layout: Layout, generator: torch.Generator | None = None, spread: float = 0.02) -> None:
        self.headers = {name: Header("F32", shape) for name, shape in layout.shapes.items() if name not in layout.optional}
        self._generator, self._spread = generator, spread

    def on(self, device: str) -> RandomTensors:
        return self

    def __getitem__(self, name: str) -> Tensor:
        import torch

        shape = self.headers[name].shape
        if len(shape) == 1:
            return torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
        return torch.randn(shape, generator=self._generator) * self._spread
