"""Writes a GGUF file, tensor by tensor: settings, tokenizer and weights as llama.cpp reads them. Knows no folder and no tokenizer.

Quantised blocks are those of the package `gguf`. What is no product (norms, biases, learned positions) stays float32.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from gencli.errors import UsageError, shown
from gencli.formats import Checkpoint, GGUFVocabulary
from gencli.formats._gguf_architectures import ARCHITECTURES, TURNED, Architecture
from gencli.formats._gguf_file import ALIGNMENT, ARRAY, MAGIC, SCALARS, TEXT, TYPES
from gencli.formats._gguf_rotary import llama_3_factors
from gencli.formats._safetensors_writing import BLOCK, blocks

if TYPE_CHECKING:
    from torch import Tensor

NUMBERS = {name: number for number, (name, _, _) in TYPES.items()}
FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 7}  # what llama.cpp calls a file whose products are so
DEFAULTS = {"layer_norm_epsilon": 1e-5, "layer_norm_eps": 1e-5, "rms_norm_eps": 1e-6}  # where config.json is silent
ALSO = {"num_experts": "num_local_experts", "num_local_experts": "num_experts"}
QUANTISATION_VERSION = 2  # of ggml's block layouts
FORMS = {form: number for number, form in SCALARS.items()}
BUFFERS = (".attn.bias", ".attn.masked_bias", ".inv_freq")  # which follow from the settings


class Part(NamedTuple):
    """A tensor to be written: its name and type there, its shape, and how it is made."""

    name: str
    kind: str
    shape: tuple[int, ...]
    make: Callable[[], Tensor]

    @property
    def size(self) -> int:
        _, numbers, width = TYPES[NUMBERS[self.kind]]
        return math.prod(self.shape) // numbers * width


def architecture_of_config(config: Mapping[str, Any]) -> Architecture:
    """Raises `UsageError` for a model type that GGUF files are not written of."""
    for each in ARCHITECTURES:
        if config.get("model_type") == each.model_type:
            return each
    known = ", ".join(sorted(each.model_type for each in ARCHITECTURES))
    raise UsageError(f"GGUF files are not written of the model type {shown(config.get('model_type'))}. Choices: {known}.")


def write_gguf(
    file: BinaryIO,
    checkpoint: Checkpoint,
    vocabulary: GGUFVocabulary,
    kind: str,
    told: Callable[[int, int], object] = lambda done, total: None,
) -> None:
    """The checkpoint with its products as `kind` ("F32", "F16", "Q8_0", "Q4_0"); `told` hears of bytes done and in all.

    Raises `UsageError` for an architecture or a way of stretching positions that is not written.
    """
    architecture = architecture_of_config(checkpoint.config)
    parts = sorted(parts_of(checkpoint, architecture, kind), key=lambda part: part.name)
    settings = {**settings_of(checkpoint, architecture, kind), **vocabulary_settings(vocabulary)}
    head = io.BytesIO()
    head.write(MAGIC + struct.pack("<IQQ", 3, len(parts), len(settings)))
    for key, value in settings.items():
        head.write(_text(key) + _value(value))
    at = 0
    for part in parts:
        axes = part.shape[::-1]
        head.write(_text(part.name) + struct.pack(f"<I{len(axes)}QIQ", len(axes), *axes, NUMBERS[part.kind], at))
        at += part.size + -part.size % ALIGNMENT
    file.write(head.getvalue() + bytes(-head.tell() % ALIGNMENT))
    done, total = 0, sum(part.size for part in parts)
    for part in parts:
        for block in _bytes(part):
            file.write(block)
            done += len(block)
            told(done, total)
        file.write(bytes(-part.size % ALIGNMENT))


def parts_of(checkpoint: Checkpoint, architecture: Architecture, kind: str) -> Iterator[Part]:
    """Every tensor as it is to be written. Raises `UsageError` for one that the architecture does not have."""
    config, headers = checkpoint.config, checkpoint.headers
    base = architecture.prefix.split(".")[0] + "."
    theirs = {stem.removeprefix(base): (full, stem) for full, stem in architecture.outer.items()}
    within = {stem: name for name, stem in architecture.layer.items()}
    stacks: dict[str, list[str]] = {}
    for full in headers:
        name = full.removeprefix(base)
        stem, _, ending = name.rpartition(".")
        if name.endswith(BUFFERS) or (stem == "lm_head" and config.get("tie_word_embeddings", architecture.word == "gpt2")):
            continue
        if stem in theirs:
            ours = theirs[stem][0]
        else:
            _, _, rest = name.partition(".")  # "layers." or "h."
            layer, _, inner = rest.removesuffix(f".{ending}").partition(".")
            expert, general = _expert(inner)
            if not layer.isdecimal() or general not in within:
                raise UsageError(f"the tensor {shown(full)} has no name in GGUF's architecture {architecture.word}.")
            ours = f"blk.{layer}.{within[general]}"
            if expert is not None:
                stacks.setdefault(f"{ours}.{ending}", []).append(full)
                continue
        yield _part(checkpoint, architecture, f"{ours}.{ending}", [full], kind)
    for ours, experts in stacks.items():
        yield _part(checkpoint, architecture, ours, sorted(experts, key=lambda name: _expert(name)[0] or 0), kind)
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if scaling.get("rope_type", scaling.get("type")) == "llama3":
        yield _llama_3(config, scaling)


def _expert(name: str) -> tuple[int | None, str]:
    """The number in "mlp.experts.3.up_proj", and the name with "{}" in its place."""
    before, found, after = name.partition(".experts.")
    number, _, rest = after.partition(".")
    return (int(number), f"{before}.experts.{{}}.{rest}") if found and number.isdecimal() else (None, name)


def _part(checkpoint: Checkpoint, architecture: Architecture, ours: str, names: list[str], kind: str) -> Part:
    short = ours.removesuffix(".weight").removesuffix(".bias").rpartition(".")[2]
    change = architecture.changes.get(short)
    shape = checkpoint.headers[names[0]].shape
    if change is TURNED:
        shape = shape[::-1]
    if len(names) > 1 or "_exps" in short:
        shape = (len(names), *shape)

    def make() -> Tensor:
        import torch

        found = [checkpoint.tensors[name].float() for name in names]
        changed = [change.write(each, checkpoint.config) if change else each for each in found]
        return torch.stack(changed) if len(shape) > changed[0].dim() else changed[0]

    product = len(shape) > 1 and short not in ("position_embd", "ffn_gate_inp")
    # a row that does not fill blocks is kept in float16, as llama.cpp's own converter does
    held = "F32" if not product else "F16" if shape[-1] % TYPES[NUMBERS[kind]][1] else kind
    return Part(ours, held, shape, make)


def _llama_3(config: Mapping[str, Any], scaling: Mapping[str, Any]) -> Part:
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    theta = float(scaling.get("rope_theta") or config.get("rope_theta") or 10000.0)

    def make() -> Tensor:
        import torch

        return torch.tensor(llama_3_factors(theta, head // 2, scaling))

    return Part("rope_freqs.weight", "F32", (head // 2,), make)


def _bytes(part: Part) -> Iterator[bytes]:
    """A tensor's bytes, a block of rows at a time. Raises `RunError` for a number that float16 cannot hold."""
    if part.kind in ("F32", "F16"):
        yield from blocks(part.name, part.make(), part.kind)
        return
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    tensor = part.make()
    rows = tensor.reshape(-1, tensor.shape[-1])
    step = max(1, BLOCK // max(1, rows.shape[1]))
    for at in range(0, len(rows), step):
        yield quantize(rows[at : at + step].contiguous().numpy(), GGMLQuantizationType[part.kind]).tobytes()


def settings_of(checkpoint: Checkpoint, architecture: Architecture, kind: str) -> dict[str, Any]:
    """GGUF's settings for a config.json. Raises `UsageError` where one is missing or positions are stretched in a way it does not write."""
    config, word = checkpoint.config, architecture.word
    found: dict[str, Any] = {
        "general.architecture": word,
        "general.name": checkpoint.name,
        "general.file_type": FILE_TYPES[kind],
        "general.quantization_version": QUANTISATION_VERSION,
        f"{word}.vocab_size": int(config["vocab_size"]),
        **({"general.license": licence} if isinstance(licence := config.get("license"), str) else {}),
    }
    for name, value in architecture.fixed.items():
        if config.get(name, value) != value:
            raise UsageError(f"GGUF files of {word} always have {name} {shown(value)}, and config.json says {shown(config[name])}.")
    for name, key in architecture.settings.items():
        value = config.get(name, config.get(ALSO.get(name, name), DEFAULTS.get(name)))
        if value is None and name == "n_inner":
            value = 4 * int(config["n_embd"])
        if value is None and not key.endswith("?"):
            raise UsageError(f"config.json does not say {name}, which a GGUF file of {word} needs.")
        if value is not None:
            found[f"{word}.{key.rstrip('?')}"] = value
    if word == "gpt2":
        return found
    heads = int(config["num_attention_heads"])
    head = int(config.get("head_dim") or int(config["hidden_size"]) // heads)
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = scaling.get("rope_theta") or config.get("rope_theta") or config.get("rotary_emb_base") or 10000.0
    share = scaling.get("partial_rotary_factor") or config.get("partial_rotary_factor") or config.get("rotary_pct") or 1
    found |= {f"{word}.rope.freq_base": float(theta), f"{word}.rope.dimension_count": int(head * share)}
    found.setdefault(f"{word}.attention.head_count_kv", heads)
    if "head_dim" in config:
        found |= {f"{word}.attention.key_length": head, f"{word}.attention.value_length": head}
    stretched = scaling.get("rope_type", scaling.get("type"))
    if stretched in ("linear", "yarn"):
        found |= {f"{word}.rope.scaling.type": stretched, f"{word}.rope.scaling.factor": float(scaling["factor"])}
        if original := scaling.get("original_max_position_embeddings"):
            found[f"{word}.rope.scaling.original_context_length"] = int(original)
    elif stretched not in (None, "default", "llama3"):
        raise UsageError(f"positions stretched by {shown(stretched)} are not written to GGUF files; written are linear, yarn, llama3.")
    return found


def vocabulary_settings(vocabulary: GGUFVocabulary) -> dict[str, Any]:
    """GGUF's settings for a tokenizer."""
    found: dict[str, Any] = {
        "model": vocabulary.kind,
        "pre": vocabulary.pre or None,
        "tokens": vocabulary.tokens,
        "scores": vocabulary.scores or None,
        "token_type": vocabulary.types or None,
        "merges": vocabulary.merges if vocabulary.kind == "gpt2" else vocabulary.merges or None,  # llama.cpp asks for some list there
        "bos_token_id": vocabulary.bos,
        "eos_token_id": vocabulary.eos,
        "unknown_token_id": vocabulary.unk,
        "add_bos_token": vocabulary.add_bos,
        "add_space_prefix": None if vocabulary.add_space_prefix else False,
    }
    named = {f"tokenizer.ggml.{key}": value for key, value in found.items() if value is not None}
    return named | ({"tokenizer.chat_template": vocabulary.chat_template} if vocabulary.chat_template else {})


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> bytes:
    """A setting with its type: whole numbers as 32 bits (lists: signed), other numbers as float32."""
    if isinstance(value, str):
        return struct.pack("<I", TEXT) + _text(value)
    if isinstance(value, list):
        if not value or isinstance(value[0], str):
            return struct.pack("<IIQ", ARRAY, TEXT, len(value)) + b"".join(map(_text, value))
        form = "f" if isinstance(value[0], float) else "i"
        return struct.pack(f"<IIQ{len(value)}{form}", ARRAY, FORMS[form], len(value), *value)
    form = "?" if isinstance(value, bool) else "I" if isinstance(value, int) else "f"
    return struct.pack(f"<I{form}", FORMS[form], value)
