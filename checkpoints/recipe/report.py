"""A checkpoint beside others and the baselines, on the same held-out texts. Knows no training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
import torch
from tokenizers import Tokenizer

from recipe.baselines import KneserNey, five_gram_bits, trained_tokens, xz_bits
from recipe.corpus import ABILITIES, END
from recipe.evaluation import bits_per_byte, held_texts, open_checkpoint

Figures = dict[str, dict[str, float]]  # bits per byte of every ability, by model


def compare(data: Path, checkpoints: Sequence[Path], most: int | None, baselines: bool, threads: int, output: Path | None) -> Figures:
    """Bits per byte of each checkpoint, by ability, as a table on stdout and as JSON where asked."""
    torch.set_num_threads(threads)
    texts = {name: held_texts(data, name, most) for name in ABILITIES}
    figures: Figures = {}
    for folder in checkpoints:
        network, tokenizer = open_checkpoint(folder)
        start = next(each for each in map(tokenizer.token_to_id, (END, "<s>")) if each is not None)
        figures[folder.name] = {name: bits_per_byte(network, tokenizer, each, start=start) for name, each in texts.items()}
        click.echo(_line(folder.name, figures[folder.name]))
    if baselines:
        figures.update(_baselines(data, texts))
    click.echo("\n" + table(figures))
    if output:
        output.write_text(json.dumps(figures, indent=2) + "\n")
    return figures


def _baselines(data: Path, texts: dict[str, list[str]]) -> Figures:
    tokenizer = Tokenizer.from_file(str(data / "tokenizer.json"))
    model = KneserNey(trained_tokens(data, ABILITIES), tokenizer.get_vocab_size())
    encoded = {
        name: [(ids.ids, len(text.encode())) for ids, text in zip(tokenizer.encode_batch_fast(each), each, strict=True)]
        for name, each in texts.items()
    }
    return {
        "5-gram, Kneser-Ney": {name: five_gram_bits(model, each) for name, each in encoded.items()},
        "xz -9": {name: xz_bits(each) for name, each in texts.items()},
    }


def table(figures: Figures) -> str:
    """The figures as a Markdown table, a row a model."""
    heads = ["bits per byte", *ABILITIES]
    rows = [[name, *(f"{each[ability]:.3f}" for ability in ABILITIES)] for name, each in figures.items()]
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, ["---", *["---:"] * len(ABILITIES)], *rows))


def _line(name: str, figures: dict[str, float]) -> str:
    return f"{name}: " + ", ".join(f"{ability} {bits:.3f}" for ability, bits in figures.items())
