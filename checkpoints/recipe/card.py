"""The model card: data, licences, curve, figures and samples, all from what was measured. Knows no file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from recipe.report import table
from recipe.training import WINDOW, Mismatch, Settings

# what a model hub and `gencli checkpoints info` read: the weights come under the project's own licence
FRONT = "---\nlicense: mit\nlanguage: en\npipeline_tag: text-generation\n---\n\n"

LICENCES = """| data | licence |
| --- | --- |
| children's books (Project Gutenberg, Standard Ebooks) | public domain; the editors' work CC0 |
| TinyStories | CDLA-Sharing-1.0 |
| Synthetic-Persona-Chat (Google Research) | CC-BY-4.0 |
| chatterbot corpus | BSD-3-Clause |
| self-instruct | Apache-2.0 |
| Python's standard library | PSF-2.0 |"""

MEASURED = """Bits per byte over whole held-out documents: books and modules listed in `checkpoints/recipe/held_out.txt`, and one in 16
stories and chats by their hashes; *modules* are whole files of Python, *functions* theirs one by one. Each model reads them with its own
tokenizer, each document after the start token it was trained with, in windows of its own context that overlap by half. The 5-gram model
(interpolated Kneser-Ney, over this checkpoint's tokens) learned from the same training text, all of it. `xz -9` compresses each ability's
held-out documents joined into one file; it is shown no training text. Models trained elsewhere may have seen what is held out here."""


def learned(card: str) -> int:
    """How many tokens a card of the recipe says that its checkpoint was trained on; Mismatch where it says nothing of it."""
    told = re.search(r"^Trained on ([\d,]+) tokens", card, re.MULTILINE)
    if told is None:
        raise Mismatch("The checkpoint's README.md is no card of the recipe: it does not say how many tokens it was trained on.")
    return int(told[1].replace(",", ""))


def text(
    name: str,
    settings: Settings,
    counts: Mapping[str, Mapping[str, int]],
    drawn: Mapping[str, int],
    before: int,
    rows: Sequence[Mapping[str, Any]],
    figures: dict[str, dict[str, float]] | None,
    samples: Mapping[str, Any] | None,
    blend: float = 0.0,
) -> str:
    """The card in Markdown; `blend` is the share that another checkpoint's weights have in these."""
    size = settings.size
    earlier = f", the first {before:,} of them in an earlier run" if before else ""
    later = "in the later one " if before else ""
    mean = f" The weights are a mean: {1 - blend:g} of this run's, {blend:g} of those it began with." if blend else ""
    tokens = max((row["tokens"] for row in rows if "loss" in row), default=0)
    parts = [
        FRONT + f"# {name}",
        "A small language model in Llama's layout, made by `checkpoints/recipe`: "
        f"{size.layers} layers, width {size.width}, {size.heads} heads, gated MLP of {size.mlp}, rotary {size.theta:,.0f}, "
        f"tied embeddings, byte-level BPE of {size.vocabulary:,}, context {WINDOW}, float16.",
        f"Trained on {tokens:,} tokens{earlier} ({settings.rows * WINDOW:,} a step, seed {settings.seed}): {later}"
        f"Muon at {settings.muon:g} for the matrices, AdamW at {settings.adam:g} for the embedding and the norms; "
        f"warm-up, plateau, decay to 0.{mean} Documents end with "
        "`<|endoftext|>`; chats look like `<|user|>\\nHello\\n<|assistant|>\\nHi!\\n`, so an answer ends at id 1 or 0.",
        "![The loss over the tokens](loss.svg)",
        "## Data\n\n" + LICENCES + "\n\n" + _counts(counts, drawn, "share of the later run's rows" if before else "share of the rows"),
    ]
    if figures:
        parts.append("## On text it never saw\n\n" + MEASURED + "\n\n" + table(figures))
    if samples:
        parts.append(_samples(samples))
    parts.append(
        "## What it cannot do\n\nIt knows next to nothing of the world, calculates badly, follows no instructions beyond small talk, "
        "and writes code that is to be looked at, not run. "
        "A filter kept blocked words out of its training text; that is no promise of what it writes."
    )
    return "\n\n".join(parts) + "\n"


def _counts(counts: Mapping[str, Mapping[str, int]], drawn: Mapping[str, int], share_of: str) -> str:
    total = sum(drawn.values())
    lines = [f"| ability | documents | tokens | {share_of} | held out |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, each in counts.items():
        share = 100 * drawn[name] / total
        lines.append(f"| {name} | {each['documents']:,} | {each['tokens']:,} | {share:.0f} % | {each['held_documents']:,} |")
    return "\n".join(lines)


def _samples(samples: Mapping[str, Any]) -> str:
    told = ["## What it writes", "The first samples of every kind, by their seeds; nobody chose them."]
    told.append("\n".join(f"- {key}: {value}" for key, value in samples["figures"].items()))
    for kind, texts in samples["texts"].items():
        for each in texts[:3]:
            fence = "```"
            between = "\n\n" if kind == "chat" else ""
            told.append(f"{kind}, seed {each['seed']}:\n\n{fence}text\n{each['prompt']}{between}{each['text'].rstrip()}\n{fence}")
    return "\n\n".join(told)
