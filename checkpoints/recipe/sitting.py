"""One sitting at a run: asked to stop it saves and ends, a person sees how far it is, the log says how well it does. Knows no layer."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from types import FrameType
from typing import Any

import click
import torch
from tokenizers import Tokenizer

from gencli.progress import Progress
from gencli.terminal import Messages
from recipe import card, curve
from recipe.evaluation import bits_per_byte, held_texts
from recipe.network import Size
from recipe.training import Mismatch, Run, Settings, train

LOOKED = 200  # steps between two looks at held-out text
LOOKED_AT = 16_000  # bytes of it an ability


def settings_from(data: Path, given: Mapping[str, Any], beginning: Path | None = None) -> Settings:
    """What was given, else the defaults, and the size of the checkpoint that the run begins with; the vocabulary's is the tokenizer's."""
    known = {name: value for name, value in given.items() if value is not None}
    size = Size.of(json.loads((beginning / "config.json").read_text())) if beginning else Size()
    size = replace(size, vocabulary=Tokenizer.from_file(str(data / "tokenizer.json")).get_vocab_size())
    size = replace(size, **{each.name: known.pop(each.name) for each in fields(Size) if each.name in known and each.name != "context"})
    return replace(Settings(size=size if beginning else replace(size, kv_heads=size.heads)), **known)


def branch(folder: Path, into: Path) -> None:
    """Copy a run's state and log into a folder that has none, for a decay that leaves the run as it is."""
    if not (into / "state.pt").exists():
        into.mkdir(parents=True, exist_ok=True)
        for name in ("log.jsonl", "state.pt"):
            shutil.copy2(folder / name, into / name)


def sit(
    data: Path,
    folder: Path,
    settings: Settings | None,
    device: str,
    threads: int,
    steps: int | None = None,
    minutes: float | None = None,
    context: int | None = None,
    mixture: dict[str, float] | None = None,
    decay_share: float = 0.3,
    beginning: Path | None = None,
) -> Run:
    """Open or continue the run and train it; its log and the curve of its loss are written with every save."""
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high" if device != "cpu" else "highest")
    try:
        run = Run(data, folder, settings or Settings(), device)
        run.change(context, mixture)
        if beginning:
            run.begin_with(beginning, card.learned((beginning / "README.md").read_text(encoding="utf-8")))
    except Mismatch as error:
        raise click.UsageError(str(error)) from None
    tokenizer = Tokenizer.from_file(str(data / "tokenizer.json"))
    texts = {name: held_texts(data, name, LOOKED_AT) for name in run.settings.mixture}
    progress = Progress(Messages())
    click.echo(f"{sum(each.numel() for each in run.network.parameters()):,} parameters, from step {run.step}", err=True)

    def told(run: Run, loss: float) -> None:
        last = run.plan.end if run.plan else None
        progress.share(f"step {run.step}, loss {loss:.3f}", run.step, last) if last else progress(f"step {run.step}, loss {loss:.3f}")
        if run.step % LOOKED == 0 or run.step == last:
            _look(run, tokenizer, texts)

    with _stopping() as asked:
        done = train(run, steps, minutes, decay_share, wanted=lambda: not asked, told=told)
    progress.clear()
    (folder / "loss.svg").write_text(curve.svg(run.losses), encoding="utf-8")
    click.echo(f"step {run.step}, {run.tokens:,} tokens: {'done' if done else 'stopped; the same command continues'}", err=True)
    if not done and (run.plan or minutes is not None):  # what was to come after it must not
        raise SystemExit(128 + asked[0])
    return run


def _look(run: Run, tokenizer: Tokenizer, texts: Mapping[str, list[str]]) -> None:
    run.network.eval()
    figures = {name: round(bits_per_byte(run.network, tokenizer, each, run.settings.context), 4) for name, each in texts.items()}
    run.network.train()
    run.losses.append({"step": run.step, "held": figures})
    click.echo(f"step {run.step}: " + ", ".join(f"{name} {each:.3f}" for name, each in figures.items()) + " bits per byte", err=True)


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """Within, Ctrl-C and SIGTERM ask for an end after the step; what is given holds the signals so far."""
    asked: list[int] = []

    def caught(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    before = {number: signal.signal(number, caught) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
