"""Short trainings that differ in one thing each, at the same cost: what the size, the rates, the mixture are chosen by. Knows no text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import click

from recipe.corpus import ABILITIES
from recipe.network import Network, Size
from recipe.sitting import LOOKED_AT, settings_from, sit
from recipe.training import WINDOW, Run, Settings

TOLD = """Every row is a training of its own with the recipe's defaults and {rows} windows a step, but for what its name says, and with
the same number of multiplications: what costs less a token sees more of them. The rate warms up, stays, and falls to 0 over the last
30 %. Bits per byte on the first {looked:,} bytes of each ability's held-out text; the mean is over the abilities."""


class Trial(NamedTuple):
    """A folder of tokens, and what differs from the defaults."""

    data: Path
    given: Mapping[str, Any]

    def name(self, first: Path) -> str:
        """What a person reads, and the name of its folder."""
        if self.data != first:
            return f"vocabulary {settings_from(self.data, {}).size.vocabulary:,}"
        *_, (name, value) = self.given.items()
        return "the defaults" if name == "rows" else f"mixture {shares(value)}" if name == "mixture" else f"{name} {value}"


def shares(mixture: Mapping[str, float]) -> str:
    return "/".join(f"{100 * share:.0f}" for share in mixture.values())


def trials(data: Sequence[Path], rows: int, varied: Iterable[tuple[str, str]], mixtures: Iterable[Mapping[str, float]]) -> list[Trial]:
    """The defaults with `rows` windows a step, then a trial for each value, mixture and further folder of tokens.

    ValueError for what no setting is called, and for a value that is no number.
    """
    kinds = {each.name: type(getattr(held, each.name)) for held in (Settings(), Size()) for each in fields(held)}
    known = [name for name in kinds if kinds[name] in (int, float) and name not in ("seed", "rows", "vocabulary", "kv_heads")]
    base = {"rows": rows}
    found = [Trial(data[0], base)]
    for name, value in varied:
        if name not in known:
            raise ValueError(f"There is no {name} to vary. Choices: {', '.join(known)}.")
        found.append(Trial(data[0], {**base, name: kinds[name](value)}))
    return [*found, *(Trial(data[0], {**base, "mixture": each}) for each in mixtures), *(Trial(each, base) for each in data[1:])]


def cost(settings: Settings) -> int:
    """Multiplications of one step, forwards and backwards: three times those of the matrices and of attention."""
    size = settings.size
    matrices = sum(each.numel() for each in Network(size).parameters() if each.dim() == 2)
    attention = size.layers * size.width * settings.context  # keys and values, and on average half the context
    return 3 * (matrices + attention) * settings.rows * WINDOW


def measure(todo: Sequence[Trial], into: Path, steps: int, threads: int) -> str:
    """Train each trial in a folder of its own in `into`; what is there already is not done again. The record as Markdown."""
    rows = []
    base = settings_from(todo[0].data, todo[0].given)
    for trial in todo:
        name = trial.name(todo[0].data)
        settings = settings_from(trial.data, trial.given)
        count = max(1, round(steps * cost(base) / cost(settings)))
        click.echo(f"{name}: {count} steps", err=True)
        run = sit(trial.data, into / name.replace(" ", "-").replace("/", "-"), settings, "cpu", threads, steps=count)
        rows.append(_row(name, run))
    return TOLD.format(rows=base.rows, looked=LOOKED_AT) + "\n\n" + _table(rows)


def _row(name: str, run: Run) -> list[str]:
    held = next(row["held"] for row in reversed(run.losses) if "held" in row)
    figures = [held[ability] for ability in ABILITIES]
    parameters = sum(each.numel() for each in run.network.parameters())
    return [name, f"{parameters:,}", f"{run.tokens:,}", *(f"{each:.3f}" for each in (*figures, sum(figures) / len(figures)))]


def _table(rows: Sequence[Sequence[str]]) -> str:
    heads = ["trial", "parameters", "tokens", *ABILITIES, "mean"]
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, ["---", *["---:"] * (len(heads) - 1)], *rows)) + "\n"
