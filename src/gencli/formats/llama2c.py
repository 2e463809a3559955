"""llama2.c's `.bin` files: a header of seven numbers and a Llama's weights in a fixed order. Knows no model.

Three layouts: the first one (float32, no magic), version 1 (float32) and version 2 (8 bits in groups with a scale each).
Its tokenizer, `tokenizer.bin`, lies beside it.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gencli.errors import RunError
from gencli.formats import Checkpoint, Header
from gencli.formats._archives import LOCAL
from gencli.formats._mapped import Piece, mapped
from gencli.formats._pairs import halves

if TYPE_CHECKING:
    from torch import Tensor

MAGIC, START = b"24ka", 256  # 0x616b3432, and where the numbers begin after it
LARGEST = 1 << 31
MOST_LAYERS = 4096
START_ID, END_ID = 1, 2  # which llama2.c counts on; it ends a text at either


class Shape(NamedTuple):
    """The header: widths in numbers, `context` in positions."""

    width: int
    mlp: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    context: int

    @property
    def kv(self) -> int:
        return self.width // self.heads * self.kv_heads


class Place(NamedTuple):
    """A tensor's beginning and shape; with scales, where they begin (8-bit numbers, a scale every `group`)."""

    begin: int
    shape: tuple[int, ...]
    scales: int | None = None
    group: int = 0


class Llama2c:
    """A file `*.bin` that is as long as its header says."""

    def recognises(self, path: Path, names: Collection[str] | None) -> bool:
        if path.suffix != ".bin" or not path.is_file():
            return False
        with open(path, "rb") as file:
            return file.read(4) not in (LOCAL, b"")

    def open(self, path: Path) -> Checkpoint:
        """Read the header and reckon where every tensor lies. Raises `RunError`."""
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = file.read(START)
        if len(head) < 36:
            raise RunError(f"{path} is damaged: {len(head)} bytes are no checkpoint of llama2.c.")
        shape, tied, places, end = _read(path, head)
        if end != size:
            raise RunError(f"{path} is damaged: its header asks for {end} bytes and it has {size}; perhaps it was cut off.")
        return Checkpoint(
            path=path,
            name=Path(os.path.abspath(path)).stem,
            config=_config(shape, tied),
            generation_config={"bos_token_id": START_ID, "eos_token_id": [START_ID, END_ID]},
            tokenizer_files=path.parent,
            tensors=_Tensors(path, places, shape),
            bytes=size,
        )


def _read(path: Path, head: bytes) -> tuple[Shape, bool, dict[str, Place], int]:
    if head[:4] != MAGIC:
        *numbers, stated, context = struct.unpack_from("<7i", head)
        shape, tied = _checked(path, [*numbers, abs(stated), context]), stated > 0
        places, end = _first_layout(shape, tied)
        return shape, tied, places, end
    version, *numbers, shared = struct.unpack_from("<i7iB", head, 4)
    if version not in (1, 2) or shared not in (0, 1) or len(head) < START:
        raise RunError(f"{path} is damaged: its version {version} is not 1 or 2, or its header is cut off.")
    group = struct.unpack_from("<i", head, 37)[0] if version == 2 else 0
    shape = _checked(path, numbers)
    if version == 2 and not (group > 0 and all(size % group == 0 for size in (shape.width, shape.mlp, shape.kv))):
        raise RunError(f"{path} is damaged: groups of {group} numbers do not fill its rows.")
    places, end = _later_layout(shape, bool(shared), group)
    return shape, bool(shared), places, end


def _checked(path: Path, numbers: list[int]) -> Shape:
    shape = Shape(*numbers)
    if not all(1 <= number < LARGEST for number in shape) or shape.layers > MOST_LAYERS:
        raise RunError(f"{path} is no checkpoint of llama2.c, or damaged: its header says {list(shape)}.")
    if shape.width % shape.heads or shape.heads % shape.kv_heads or shape.width // shape.heads % 2:
        raise RunError(f"{path} is damaged: {shape.heads} and {shape.kv_heads} heads do not share a width of {shape.width}.")
    return shape


def _layer_tensors(shape: Shape) -> dict[str, tuple[int, ...]]:
    width, kv, mlp = shape.width, shape.kv, shape.mlp
    return {
        "input_layernorm": (width,),
        "self_attn.q_proj": (width, width),
        "self_attn.k_proj": (kv, width),
        "self_attn.v_proj": (kv, width),
        "self_attn.o_proj": (width, width),
        "post_attention_layernorm": (width,),
        "mlp.gate_proj": (mlp, width),
        "mlp.down_proj": (width, mlp),
        "mlp.up_proj": (mlp, width),
    }


def _first_layout(shape: Shape, tied: bool) -> tuple[dict[str, Place], int]:
    order = [*_whole("embed_tokens", (shape.vocabulary, shape.width))]
    for stem, size in _layer_tensors(shape).items():
        order += [(f"model.layers.{layer}.{stem}.weight", size) for layer in range(shape.layers)]
    order += [*_whole("norm", (shape.width,)), ("", (shape.context, shape.width // shape.heads))]  # angles, which follow from the rest
    order += [] if tied else [("lm_head.weight", (shape.vocabulary, shape.width))]
    places, at = {}, 28
    for name, size in order:
        places[name] = Place(at, size)
        at += 4 * math.prod(size)
    places.pop("")
    return places, at


def _later_layout(shape: Shape, tied: bool, group: int) -> tuple[dict[str, Place], int]:
    """Versions 1 (`group` 0) and 2: all norms first."""
    within = _layer_tensors(shape)
    norms = [stem for stem, size in within.items() if len(size) == 1]
    order = [(f"model.layers.{layer}.{stem}.weight", within[stem]) for stem in norms for layer in range(shape.layers)]
    order += [*_whole("norm", (shape.width,)), *_whole("embed_tokens", (shape.vocabulary, shape.width))]
    order += [
        (f"model.layers.{layer}.{stem}.weight", size) for stem, size in within.items() if stem not in norms for layer in range(shape.layers)
    ]
    order += [] if tied else [("lm_head.weight", (shape.vocabulary, shape.width))]
    places, at = {}, START
    for name, size in order:
        count = math.prod(size)
        quantised = group and len(size) == 2
        places[name] = Place(at, size, at + count, group) if quantised else Place(at, size)
        at += count + 4 * (count // group) if quantised else 4 * count
    return places, at


def _whole(stem: str, size: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"model.{stem}.weight", size


def _config(shape: Shape, tied: bool) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "intermediate_size": shape.mlp,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "max_position_embeddings": shape.context,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": tied,
        "bos_token_id": START_ID,
        "eos_token_id": END_ID,
    }


class _Tensors:
    """The tensors of a file, with the rotary pairs of queries and keys as Hugging Face lays them."""

    def __init__(self, path: Path, places: Mapping[str, Place], shape: Shape, device: str = "cpu") -> None:
        self._path, self._places, self._shape, self._device = path, places, shape, device
        self.headers = {name: Header("F32", place.shape) for name, place in places.items()}

    def on(self, device: str) -> _Tensors:
        return _Tensors(self._path, self._places, self._shape, device)

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._numbers(name, self._places[name])
        for kind, heads in (("q_proj", self._shape.heads), ("k_proj", self._shape.kv_heads)):
            if name.endswith(f"{kind}.weight"):
                tensor = halves(tensor, heads)
        return tensor.to(self._device)

    def _numbers(self, name: str, place: Place) -> Tensor:
        if place.scales is None:
            return mapped(Piece(self._path, place.begin, Header("F32", place.shape)), name)
        groups = math.prod(place.shape) // place.group
        numbers = mapped(Piece(self._path, place.begin, Header("I8", (groups, place.group))), name)
        scales = mapped(Piece(self._path, place.scales, Header("F32", (groups, 1))), name)
        return numbers.float().mul_(scales).view(place.shape)
