"""nanoGPT's `ckpt.pt`: what its training saved, in GPT-2's names. Its tokenizer lies beside it. Knows no model."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gencli.errors import RunError, shown
from gencli.formats import Checkpoint, Header, check_links
from gencli.formats._archives import LOCAL
from gencli.formats._mapped import MappedTensors, Piece

if TYPE_CHECKING:
    from torch import Tensor

FILE, ENDINGS = "ckpt.pt", (".pt", ".pth")
COMPILED = "_orig_mod."  # what torch.compile puts before every name
PRODUCTS = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
BUFFERS = ".attn.bias"  # a mask
BIASED = ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")
GPT2 = range(50257, 50305)  # sizes of GPT-2's vocabulary, also filled up to a multiple of 64
ARGUMENTS = {"n_layer": "n_layer", "n_head": "n_head", "n_embd": "n_embd", "vocab_size": "vocab_size", "block_size": "n_positions"}


class Nanogpt:
    """A file `*.pt`, or a folder with `ckpt.pt`, as nanoGPT's train.py writes it."""

    def recognises(self, path: Path, names: Collection[str] | None) -> bool:
        if names is not None:
            return FILE in names and "config.json" not in names
        if path.suffix not in ENDINGS or not path.is_file():
            return False
        with open(path, "rb") as file:
            return file.read(4) == LOCAL

    def open(self, path: Path) -> Checkpoint:
        """Read the arguments and where the tensors lie. Raises `RunError`."""
        # here, because every checkpoint is first asked whether it is nanoGPT's
        from gencli.formats._torch_files import pieces_of, read_torch

        if path.is_dir():
            check_links(path)
        file = path / FILE if path.is_dir() else path
        value, held = read_torch(file)
        if not isinstance(value, dict) or not isinstance(value.get("model_args"), dict) or not isinstance(value.get("model"), dict):
            raise RunError(f"{file} is no checkpoint of nanoGPT: it has no 'model' and 'model_args'.")
        config = _config(file, value["model_args"])
        pieces = {
            name.removeprefix(COMPILED): piece
            for name, piece in pieces_of(file, value["model"], held).items()
            if not name.endswith(BUFFERS)
        }
        named = {name: _turned(piece) if name.endswith(PRODUCTS) else piece for name, piece in pieces.items()}
        return Checkpoint(
            path=path,
            name=Path(os.path.abspath(path)).name if path.is_dir() else Path(os.path.abspath(path)).stem,
            config=config,
            generation_config={},
            tokenizer_files=file.parent,
            tensors=_WithBiases(MappedTensors(named), _missing(named)),
            bytes=file.stat().st_size,
            published_tokenizer="gpt2" if config["vocab_size"] in GPT2 else None,
        )


def _config(file: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
    for name in ARGUMENTS:
        if type(arguments.get(name)) is not int:
            raise RunError(f"{file}: model_args must say {name} as a whole number, not {shown(arguments.get(name))}.")
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        **{theirs: arguments[ours] for ours, theirs in ARGUMENTS.items()},
        "layer_norm_epsilon": 1e-5,
        # before biases were an argument, nanoGPT computed GPT-2's own approximation
        "activation_function": "gelu" if "bias" in arguments else "gelu_new",
        "tie_word_embeddings": True,
    }


def _turned(piece: Piece) -> Piece:
    """A product's weight (out, in) as GPT-2 keeps it, (in, out): the same numbers with the strides exchanged."""
    shape = piece.header.shape
    if len(shape) != 2:
        return piece
    rows, columns = piece.stride or (shape[1], 1)
    return piece._replace(header=Header(piece.header.dtype, shape[::-1]), stride=(columns, rows))


def _missing(pieces: Mapping[str, Piece]) -> dict[str, int]:
    """Biases that GPT-2 has and a model trained without them lacks, with their lengths."""
    found = {}
    for name, piece in pieces.items():
        stem = name.removesuffix(".weight")
        if name.endswith(".weight") and stem.endswith((*BIASED, "ln_f")) and f"{stem}.bias" not in pieces and piece.header.shape:
            found[f"{stem}.bias"] = piece.header.shape[-1]
    return found


class _WithBiases:
    """Tensors, and zeros under the names of biases that were left out."""

    def __init__(self, tensors: MappedTensors, zeros: Mapping[str, int], device: str = "cpu") -> None:
        self._tensors, self._zeros, self._device = tensors, zeros, device
        self.headers: Mapping[str, Header] = {**tensors.headers, **{name: Header("F32", (length,)) for name, length in zeros.items()}}

    def on(self, device: str) -> _WithBiases:
        return _WithBiases(self._tensors.on(device), self._zeros, device)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._zeros:
            return self._tensors[name]
        import torch

        return torch.zeros(self._zeros[name], device=self._device)
