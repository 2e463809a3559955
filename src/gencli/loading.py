"""A path or a name -> a Session: model, tokenizer and vocabulary, put together. The only assembler."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gencli.allocator import returning_memory
from gencli.catalogue import find_checkpoint, name_from
from gencli.errors import RunError, UsageError, shown, unknown
from gencli.fitting import refuse_what_cannot_fit
from gencli.formats import Checkpoint, Tensors, open_checkpoint, read_json
from gencli.registry import find, names
from gencli.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

    from gencli.decoder import Decoder
    from gencli.guidance import Companions
    from gencli.models import Model
    from gencli.pipeline import Pipeline
    from gencli.tokenizers import Tokenizer

DEVICES = ("auto", "cpu", "cuda", "mps")
MOST_THREADS = 1024
PUBLISHED_ENDS = {"gpt2": "<|endoftext|>"}
WORTH_COMPILING = 1 << 25  # bytes of weights: the compiler's import and code take a second, in which a smaller model writes its text
# bytes of weights: packing them to float16 takes as long as it saves in some 100 tokens, and a smaller
# model's whole text is written sooner than that matters
WORTH_PACKING = 1 << 26


@dataclass
class Session:
    """A checkpoint ready to run; `bytes` is the size of its weight files."""

    model: Model
    tokenizer: Tokenizer
    vocabulary: Vocabulary
    name: str
    path: Path
    bytes: int
    config: dict[str, Any]
    generation_config: dict[str, Any]
    device: str
    precision: str

    @property
    def context(self) -> int:
        """Positions that the model can look back on."""
        return self.model.context

    def decoder(self, *, cache: bool = True, overflow: str = "error", room: int | None = None) -> Decoder:
        """A decoder of this model; see `Decoder` for the settings."""
        from gencli.decoder import Decoder

        return Decoder(self.model, cache=cache, overflow=overflow, room=room)

    def companions(self, pipeline: Pipeline, *, cache: bool = True, overflow: str = "error", new: int | None = None) -> Companions:
        """What this pipeline, bound, needs beside a sequence; see `Companions` for the settings."""
        from gencli.guidance import Companions

        return Companions(self.model, pipeline.needs, cache=cache, overflow=overflow, new=new)


def load(
    name_or_path: str | None = None,
    *,
    device: str = "cpu",
    precision: str = "auto",
    threads: int | None = None,
    told: Callable[[float], object] | None = None,
) -> Session:
    """The session of a checkpoint, by name or path (None: the embedded one).

    `told` is called with the share of the weights that was asked for, from 0 to 1, as it grows. Raises
    `UsageError` for an unknown name, device or precision, `RunError` for a checkpoint that is
    unreadable, damaged, of an unknown kind or larger than the memory that is free.
    """
    _set_threads(threads)
    path = find_checkpoint(name_or_path)
    session = session_from(path, device, precision, told)
    session.name = name_from(name_or_path, path) or session.name  # the files of a cache have names of their own
    return session


@returning_memory()
def session_from(folder: Path, device: str = "cpu", precision: str = "auto", told: Callable[[float], object] | None = None) -> Session:
    """The session of the checkpoint in a folder; raises what `load` raises."""
    from gencli.models import family
    from gencli.tokenizers import tokenizer_of

    if precision not in (choices := ("auto", *names("precisions"))):
        raise unknown("precision", precision, choices)
    device = _resolve_device(device)
    checkpoint = open_checkpoint(folder)
    refuse_what_cannot_fit(checkpoint, precision, device)
    if precision == "auto":
        precision = _fastest_lossless(device, checkpoint)
        refuse_what_cannot_fit(checkpoint, precision, device)
    held = find("precisions", precision)(device, fast=checkpoint.bytes >= WORTH_COMPILING)
    tensors = checkpoint.tensors.on(device)
    model = family(checkpoint.config).build(checkpoint.config, _Counted(tensors, told) if told else tensors, held)
    tokenizer = tokenizer_of(checkpoint)
    return Session(
        model=model,
        tokenizer=tokenizer,
        vocabulary=_vocabulary(model.vocab_size, tokenizer, checkpoint),
        name=checkpoint.name,
        path=checkpoint.path,
        bytes=checkpoint.bytes,
        config=checkpoint.config,
        generation_config=checkpoint.generation_config,
        device=device,
        precision=precision,
    )


class _Counted:
    """Tensors that tell which share of their numbers was asked for so far."""

    def __init__(self, tensors: Tensors, told: Callable[[float], object]) -> None:
        self.headers = tensors.headers
        self._tensors, self._told = tensors, told
        self._done, self._total = 0, sum(math.prod(header.shape) for header in tensors.headers.values())

    def on(self, device: str) -> _Counted:
        return _Counted(self._tensors.on(device), self._told)

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._tensors[name]
        self._told(self._done / self._total)  # the work on this one is still to come
        self._done += math.prod(self.headers[name].shape)
        return tensor


def vocabulary_from(folder: Path) -> Vocabulary:
    """The vocabulary of the checkpoint in a folder, without its weights; raises `RunError` for one that is unreadable or damaged."""
    from gencli.models import family
    from gencli.tokenizers import tokenizer_of

    checkpoint = open_checkpoint(folder)
    tokenizer = tokenizer_of(checkpoint)
    return _vocabulary(family(checkpoint.config).describe(checkpoint.config).vocab_size, tokenizer, checkpoint)


def _fastest_lossless(device: str, checkpoint: Checkpoint) -> str:
    """What `auto` means: float16 where it is the faster one and worth packing, else float32.

    Both lose nothing that a text shows; see docs/performance.md for the measured bits per byte. On a GPU, where activations are
    rounded too, a checkpoint in bfloat16 stays that: it may need its range.
    """
    if checkpoint.bytes < WORTH_PACKING:
        return "float32"
    if device != "cpu":
        sizes = Counter[str]()
        for dtype, shape in checkpoint.headers.values():
            sizes[dtype] += math.prod(shape)
        return "bfloat16" if sizes and sizes.most_common(1)[0][0] == "BF16" else "float16"
    import torch

    return "float16" if "fbgemm" in torch.backends.quantized.supported_engines else "float32"


def _set_threads(threads: int | None) -> None:
    if threads is None:
        return
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        raise UsageError(f"threads must be a whole number from 1 to {MOST_THREADS}, not {threads!r}.")
    import torch

    torch.set_num_threads(threads)


def _resolve_device(device: str) -> str:
    if device == "cpu":
        return device
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    import torch

    found = [name for name, there in (("cuda", torch.cuda.is_available), ("mps", torch.backends.mps.is_available)) if there()]
    if device == "auto":
        return found[0] if found else "cpu"
    if device in found:
        return device
    choices = ", ".join(("auto", "cpu", *found))
    raise UsageError(f"there is no device '{device}' on this machine, or this torch was built without it. Choices: {choices}.")


def _vocabulary(size: int, tokenizer: Tokenizer, checkpoint: Checkpoint) -> Vocabulary:
    """What a stage may know of the tokenizer, with one entry for each of the model's logits."""
    if tokenizer.size > size:
        raise RunError(f"the tokenizer of {checkpoint.path} has {tokenizer.size} tokens, its model {size}.")
    return Vocabulary(
        size=size,
        token_bytes=[*tokenizer.token_bytes, *[b""] * (size - tokenizer.size)],
        end_ids=_end_ids(size, tokenizer, checkpoint),
        special_ids=frozenset(tokenizer.special.values()),
        encode=tokenizer.encode,
        strips_start=tokenizer.strips_start,
        start_ids=tuple(tokenizer.start_ids),
    )


def _end_ids(size: int, tokenizer: Tokenizer, checkpoint: Checkpoint) -> frozenset[int]:
    """The ids that end a text: by the generation config, else the config, else the tokenizer's settings."""
    for where, settings in (("generation_config.json", checkpoint.generation_config), ("config.json", checkpoint.config)):
        stated = settings.get("eos_token_id")
        if stated is None:
            continue
        ids = stated if isinstance(stated, list) else [stated]
        if not all(type(each) is int and 0 <= each < size for each in ids):
            raise RunError(f"{where}: eos_token_id must be token ids from 0 to {size - 1}, not {shown(stated)}.")
        return frozenset(ids)
    return _end_id_by_name(tokenizer, checkpoint)


def _end_id_by_name(tokenizer: Tokenizer, checkpoint: Checkpoint) -> frozenset[int]:
    """The id of the token that tokenizer_config.json names, or that a published tokenizer is known to have."""
    file = checkpoint.tokenizer_files / "tokenizer_config.json"
    token: Any = read_json(file).get("eos_token") if file.exists() else PUBLISHED_ENDS.get(checkpoint.published_tokenizer or "")
    text = token.get("content") if isinstance(token, Mapping) else token
    return frozenset({tokenizer.special[text]} if isinstance(text, str) and text in tokenizer.special else ())
