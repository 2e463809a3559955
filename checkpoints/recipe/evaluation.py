"""How well a checkpoint predicts held-out text: bits per byte. Any checkpoint in Llama's layout; knows no training."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

from recipe.network import Network, Size

ROWS = 8  # windows at a time


def held_texts(data: Path, ability: str, most: int | None = None) -> list[str]:
    """The held-out documents of an ability, together at most `most` bytes, evenly over all of them."""
    lines = (data / f"{ability}.held.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    if most is not None and texts:
        share = max(1, most // len(texts))
        if ability in ("stories", "chat", "functions"):  # short ones whole
            texts = texts[:: -(-sum(map(len, texts)) // most)]
        else:
            texts = [text[:share] for text in texts]
    return texts


@torch.inference_mode()
def bits_per_byte(network: Network, tokenizer: Tokenizer, texts: Iterable[str], context: int | None = None, start: int | None = 0) -> float:
    """Bits a byte of UTF-8 costs. Each text begins after the token `start`; windows overlap by half, only new tokens count.

    Special tokens in the text are predicted, and their letters count as bytes: the same for every checkpoint that has them.
    """
    length = min(context or network.size.context, network.size.context)
    nats, size = 0.0, 0
    device = network.embed_tokens.weight.device
    windows: list[tuple[list[int], int]] = []
    for text in texts:
        size += len(text.encode())
        ids = ([start] if start is not None else []) + tokenizer.encode(text, add_special_tokens=False).ids
        windows += _windows(ids, length)
    windows.sort(key=lambda each: len(each[0]))
    for first in range(0, len(windows), ROWS):
        rows = windows[first : first + ROWS]
        longest = max(len(ids) for ids, _ in rows)
        padded = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in rows], device=device)
        logits = network(padded[:, :-1])
        costs = F.cross_entropy(logits.flatten(0, 1), padded[:, 1:].flatten(), reduction="none").view(len(rows), -1)
        for row, (ids, known) in enumerate(rows):
            nats += float(costs[row, max(known - 1, 0) : len(ids) - 1].double().sum())
    return nats / math.log(2) / max(size, 1)


def _windows(ids: list[int], length: int) -> list[tuple[list[int], int]]:
    """(ids of a window, how many of its first are context only): all tokens but the first are new in exactly one window."""
    if len(ids) <= length + 1:
        return [(ids, 1)] if len(ids) > 1 else []
    result = [(ids[: length + 1], 1)]
    done = length + 1
    while done < len(ids):
        end = min(len(ids), done + length // 2)
        begin = max(0, end - length - 1)
        result.append((ids[begin:end], done - begin))
        done = end
    return result


def open_checkpoint(folder: Path) -> tuple[Network, Tokenizer]:
    """A checkpoint in Hugging Face layout, family llama with tied embeddings or not, in float32."""
    size = Size.of(json.loads((folder / "config.json").read_text()))
    network = Network(size)
    tensors = {name.removeprefix("model."): each.float() for name, each in load_file(folder / "model.safetensors").items()}
    head = tensors.pop("lm_head.weight", None)
    if head is not None and not torch.equal(head, tensors["embed_tokens.weight"]):
        raise ValueError(f"{folder} has a head of its own; the recipe's network has none.")
    network.load_state_dict(tensors)
    return network.eval(), Tokenizer.from_file(str(folder / "tokenizer.json"))
