"""Twenty thousand damaged files: each is read or refused with a sentence, at once and in little memory."""

from __future__ import annotations

import json
import random
import resource
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gencli.conversion import convert
from gencli.errors import GencliError
from gencli.formats import open_checkpoint
from gencli.models import family
from gencli.precisions.float32 import Float32
from weights import GPT2, LLAMA, random_folder, split

FILES = 20_000
TINY = {"vocab_size": 16, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}
EXTREMES = [0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**60, 2**63 - 1, 2**63, 2**64 - 1]


def tiny(folder: Path, fable: Path) -> Path:
    return random_folder(folder, fable, **TINY, num_key_value_heads=1, max_position_embeddings=16)


def a_folder(folder: Path, fable: Path) -> Path:
    return tiny(folder / "x", fable) / "model.safetensors"


def its_config(folder: Path, fable: Path) -> Path:
    return tiny(folder / "x", fable) / "config.json"


def an_index(folder: Path, fable: Path) -> Path:
    path = tiny(folder / "x", fable)
    (path / "model.safetensors").rename(path / "a.safetensors")
    names = load_file(path / "a.safetensors")
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(names, "a.safetensors")}))
    return path / "model.safetensors.index.json"


def torchs_own(folder: Path, fable: Path) -> Path:
    path = tiny(folder / "x", fable)
    torch.save(load_file(path / "model.safetensors"), path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()
    return path / "pytorch_model.bin"


def a_gguf(folder: Path, fable: Path) -> Path:
    path = tiny(folder / "x", fable)
    settings = json.loads((path / "tokenizer.json").read_text())
    settings["model"] = {**settings["model"], "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}
    (path / "tokenizer.json").write_text(json.dumps({**settings, "added_tokens": []}))
    convert(open_checkpoint(path), folder / "x.gguf", "gguf", "float16")
    return folder / "x.gguf"


def nanogpts(folder: Path, fable: Path) -> Path:
    arguments = {"n_layer": 1, "n_head": 2, "n_embd": 8, "block_size": 16, "bias": True, "vocab_size": 16}
    path = random_folder(
        folder / "x", fable, "gpt2", **{**GPT2, "vocab_size": 16, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 16}
    )
    tensors = {
        name: tensor.t().contiguous() if tensor.dim() == 2 and ".h." in name else tensor
        for name, tensor in load_file(path / "model.safetensors").items()
    }
    torch.save({"model": tensors, "model_args": arguments}, folder / "x.pt")
    return folder / "x.pt"


def llama2cs(folder: Path, fable: Path) -> Path:
    count = 16 * 8 + 8 + 8 * 8 * 2 + 4 * 8 * 2 + 8 + 12 * 8 * 3 + 8 + 16 * 4
    (folder / "x.bin").write_bytes(struct.pack("<7i", 8, 12, 1, 2, 1, 16, 16) + bytes(4 * count))
    return folder / "x.bin"


def a_first_part(folder: Path, fable: Path) -> Path:
    return split(a_gguf(folder, fable), folder / "y.gguf", 4)[0]


def a_later_part(folder: Path, fable: Path) -> Path:
    return split(a_gguf(folder, fable), folder / "y.gguf", 4)[1]


KINDS: list[Callable[[Path, Path], Path]] = [
    *(a_folder, its_config, an_index, torchs_own, a_gguf, a_first_part, a_later_part, nanogpts, llama2cs),
]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The same file with a few bytes, numbers or pieces changed, most of them near its beginning or end, where headers are."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        span = min(len(found), chance.choice([40, 400, len(found)]))
        at = chance.randrange(span) if chance.random() < 0.7 else len(found) - 1 - chance.randrange(span)
        match chance.randrange(6):
            case 0:
                found[at] = chance.randrange(256)
            case 1:
                found[at] ^= 1 << chance.randrange(8)
            case 2:
                width = chance.choice([4, 8])
                found[at : at + width] = (chance.choice(EXTREMES) % (1 << 8 * width)).to_bytes(width, "little")
            case 3:
                del found[at : at + chance.randint(1, 40)]
            case 4:
                found[at:at] = found[at : at + chance.randint(1, 40)]
            case 5:
                other = chance.randrange(len(found))
                found[at : at + 8] = found[other : other + 8]
        if not found:
            return b""
    return bytes(found[: chance.randrange(len(found)) if chance.random() < 0.1 else len(found)])


def outcome(path: Path) -> str:
    """The sentence with which a checkpoint is refused; "Read." where it is not."""
    try:
        checkpoint = open_checkpoint(path)
        for name in checkpoint.headers:
            checkpoint.tensors[name].reshape(-1)[:1].tolist()
        family(checkpoint.config).build(checkpoint.config, checkpoint.tensors, Float32())
    except GencliError as error:
        return str(error)
    return "Read."


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_file_itself_is_read(kind: Callable[[Path, Path], Path], fable: Path, tmp_path: Path) -> None:
    file = kind(tmp_path, fable)
    assert outcome(file.parent if file.parent.name == "x" else file) == "Read."
    assert LLAMA["model_type"] == "llama"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_damaged_files_leave_no_traceback(kind: Callable[[Path, Path], Path], fable: Path, tmp_path: Path) -> None:
    file = kind(tmp_path, fable)
    path, data = file.parent if file.parent.name == "x" else file, file.read_bytes()
    chance, before, refused, slowest = random.Random(7), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0, 0.0
    for _ in range(FILES // len(KINDS) + 1):
        file.write_bytes(mutated(data, chance))
        start = time.thread_time()
        said = outcome(path)
        slowest = max(slowest, time.thread_time() - start)
        assert said.isprintable()
        refused += said != "Read."
    assert slowest < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 << 10  # kilobytes
    assert refused > 100
