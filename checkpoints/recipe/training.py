"""The run: steps under a warm-up, a plateau and a decay, saved whole so that it goes on as if never stopped. Knows no text."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from recipe.batches import MIXTURE, Batches, load
from recipe.muon import Optimiser
from recipe.network import Network, Size
from recipe.vocabulary import fingerprint

WINDOW = 512  # tokens of a drawn row; a shorter training context cuts it into equal parts, so that the order of the data stays
TIMED = 8  # steps that are timed before a budget in minutes becomes a number of steps


@dataclass(frozen=True)
class Settings:
    """All that decides a run's weights, beside the tokens and the number of steps."""

    size: Size = field(default_factory=Size)
    seed: int = 0
    rows: int = 8  # windows a step
    context: int = 256  # tokens that attention sees in training: a whole part of WINDOW
    muon: float = 0.02
    adam: float = 4e-3
    decay: float = 0.1
    warmup: int = 40
    mixture: dict[str, float] = field(default_factory=lambda: dict(MIXTURE))

    @classmethod
    def of(cls, saved: dict[str, Any]) -> Settings:
        return cls(**{**saved, "size": Size(**saved["size"])})


@dataclass(frozen=True)
class Plan:
    """The last steps: from `start` on the rate falls to 0 at `end`. No plan is the plateau, for as long as one likes."""

    start: int
    end: int


def rate(step: int, warmup: int, plan: Plan | None) -> float:
    """The learning rate of step `step` (from 0), as a share of the plateau's."""
    rising = min(1.0, (step + 1) / warmup)
    if plan is None or step < plan.start:
        return rising
    return rising * (plan.end - step) / (plan.end - plan.start)


class Mismatch(ValueError):
    """What was given does not fit together, in a sentence for the person who gave it."""


class Run:
    """One training in a folder: state.pt and log.jsonl. Opening a folder with a state goes on from it."""

    def __init__(self, data: Path, folder: Path, settings: Settings, device: str = "cpu") -> None:
        self.folder, self.device = folder, device
        folder.mkdir(parents=True, exist_ok=True)
        saved = torch.load(self.state_file, map_location=device, weights_only=True) if self.state_file.exists() else None
        self.settings = Settings.of(saved["settings"]) if saved else settings
        self.data = fingerprint(data)
        if saved and saved["data"] != self.data:
            raise Mismatch(f"{self.state_file} was trained on other tokens than lie in {data}.")
        torch.manual_seed(self.settings.seed)
        self.network = Network(self.settings.size).to(device)
        self.optimiser = Optimiser(self.network.named_parameters(), self.settings.muon, self.settings.adam, self.settings.decay)
        streams = load(data, WINDOW, self.settings.seed, self.settings.mixture)
        self.batches = Batches(streams, self.settings.mixture)
        self.step = 0
        self.before = 0  # tokens that a checkpoint had learned from which this run began with
        self.plan: Plan | None = None
        self.losses: list[dict[str, Any]] = []  # the log: a row a step, and one for every look at held-out text
        self.seconds: list[float] = []
        if saved:
            self._restore(saved)

    @property
    def state_file(self) -> Path:
        return self.folder / "state.pt"

    @property
    def log_file(self) -> Path:
        return self.folder / "log.jsonl"

    @property
    def tokens(self) -> int:
        """How many tokens the weights have learned from, those before this run among them."""
        return self.before + self.step * self.settings.rows * WINDOW

    def begin_with(self, checkpoint: Path, tokens: int) -> None:
        """Before the first step, take the weights of a folder that `export` wrote and that learned from `tokens` so far.

        Mismatch where their shapes differ.
        """
        if self.step:
            return
        weights = {key.removeprefix("model."): each.float() for key, each in load_file(checkpoint / "model.safetensors").items()}
        try:
            self.network.load_state_dict(weights)
        except RuntimeError as error:
            raise Mismatch(f"The weights of {checkpoint} do not fit the run's size: {error}") from None
        self.before = tokens

    def advance(self) -> float:
        """One step; the loss before it, in nats a token."""
        began = time.monotonic()
        drawn = torch.from_numpy(self.batches.rows(self.settings.rows)).to(self.device)
        ids, aims = (each.reshape(-1, self.settings.context) for each in (drawn[:, :-1], drawn[:, 1:]))
        loss = self.network.loss(ids, aims)
        loss.backward()  # type: ignore[no-untyped-call]
        share = rate(self.step, self.settings.warmup, self.plan)
        self.optimiser.step(share)
        self.step += 1
        value = float(loss.detach())
        self.seconds.append(time.monotonic() - began)
        row = {
            "step": self.step,
            "loss": round(value, 5),
            "rate": round(share, 5),
            "tokens": self.tokens,
            "seconds": round(self.seconds[-1], 2),
        }
        self.losses.append(row)
        return value

    def save(self) -> None:
        """The whole state, in place of the last one only when it is on the disk; then the log as far as the state."""
        state = {
            "settings": asdict(self.settings),
            "data": self.data,
            "step": self.step,
            "before": self.before,
            "plan": asdict(self.plan) if self.plan else None,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "drawn": self.batches.drawn,
            "debt": self.batches.debt,
            "random": torch.get_rng_state(),
        }
        _replace(self.state_file, lambda path: torch.save(state, path))
        lines = "".join(json.dumps(each) + "\n" for each in self.losses)
        _replace(self.log_file, lambda path: path.write_text(lines))

    def _restore(self, saved: dict[str, Any]) -> None:
        self.network.load_state_dict(saved["network"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.batches.drawn, self.batches.debt = dict(saved["drawn"]), dict(saved["debt"])
        self.step, self.before = saved["step"], saved["before"]
        self.plan = Plan(**saved["plan"]) if saved["plan"] else None
        torch.set_rng_state(saved["random"].cpu())
        if self.log_file.exists():
            rows = map(json.loads, self.log_file.read_text().splitlines())
            self.losses = [each for each in rows if each["step"] <= self.step]
        self.seconds = [each["seconds"] for each in self.losses if "loss" in each]

    def pace(self) -> float:
        """Seconds a step takes, by the latest ones."""
        return statistics.median(self.seconds[-50:])

    def change(self, context: int | None = None, mixture: dict[str, float] | None = None) -> None:
        """Another training context or mixture from here on; the data goes on where it is."""
        self.settings = replace(self.settings, context=context or self.settings.context, mixture=mixture or self.settings.mixture)
        total = sum(self.settings.mixture.values())
        self.batches.shares = {name: share / total for name, share in self.settings.mixture.items()}


def train(
    run: Run,
    steps: int | None = None,
    minutes: float | None = None,
    decay_share: float = 0.3,
    save_every: float = 300.0,
    wanted: Callable[[], bool] = lambda: True,
    told: Callable[[Run, float], None] = lambda run, loss: None,
) -> bool:
    """Steps until the plan's end, or on the plateau while `wanted`. True when the plan is done.

    A budget in minutes becomes a number of steps once, by the pace of the first ones; it is saved, so that going on
    needs no clock. A run that has a plan keeps it.
    """
    saved_at = time.monotonic()
    if run.plan is None and steps is not None:
        run.plan = _plan(run.step, run.step + steps, decay_share)
    while run.plan is None or run.step < run.plan.end:
        if not wanted():
            run.save()
            return False
        told(run, run.advance())
        if run.plan is None and minutes is not None and len(run.seconds) >= TIMED:
            left = round(minutes * 60 / run.pace())
            run.plan = _plan(max(0, run.step - TIMED), max(run.step + 1, run.step - TIMED + left), decay_share)
        if time.monotonic() - saved_at > save_every:
            run.save()
            saved_at = time.monotonic()
    run.save()
    return True


def _plan(begin: int, end: int, decay_share: float) -> Plan:
    return Plan(min(end - 1, end - round((end - begin) * decay_share)), end)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    part = path.with_suffix(path.suffix + ".part")
    write(part)
    with part.open("rb+") as stream:
        os.fsync(stream.fileno())
    os.replace(part, path)
