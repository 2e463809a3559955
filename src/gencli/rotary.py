"""Rotary positions: how far each pair of a head's numbers turns, under every kind of scaling. Knows no family and no attention."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

KINDS = ("default", "linear", "dynamic", "llama3", "yarn", "longrope")
MOST_TABLES = 4  # of a rotation that changes with the length: rows of a batch may differ in it


@dataclass(frozen=True)
class Scaling:
    """How the frequencies of a model are changed for texts longer than it was first trained on, its `original` positions.

    The first `dim` numbers of a head turn (None: all of them). `linear` divides all frequencies by
    `factor` (kaiokendev 2023, SuperHOT). `dynamic` raises the base with the length (bloc97 and emozilla
    2023, NTK-aware scaling). `llama3` divides those with fewer than `low` turns in the original
    positions, none with more than `high` (Dubey et al. 2024, arXiv:2407.21783), `yarn` likewise along a
    ramp over the frequencies, `truncate`d to whole ones (Peng et al. 2023, arXiv:2309.00071). `longrope`
    has a divisor a frequency, `short` up to the original length and `long` beyond it (Ding et al. 2024,
    arXiv:2402.13753). Cosines and sines are multiplied by `amplitude`.
    """

    kind: str = "default"
    dim: int | None = None
    factor: float = 1.0
    original: int = 1
    low: float = 1.0
    high: float = 32.0
    truncate: bool = True
    short: tuple[float, ...] = ()
    long: tuple[float, ...] = ()
    amplitude: float = 1.0

    @property
    def changes(self) -> bool:
        """Whether the frequencies depend on the length of the text."""
        return self.kind in ("dynamic", "longrope")

    def horizon(self, length: int) -> int:
        """Up to which length a text keeps the frequencies that it has at `length`; 0 where all lengths have the same.

        The base of `dynamic` grows in steps of a quarter of the original length, each for the longest text of its
        step: were it to grow with every token, no key could be kept.
        """
        if not self.changes:
            return 0
        if length <= self.original:
            return self.original
        if self.kind == "longrope":
            return 1 << 62
        step = max(1, self.original // 4)
        return self.original + -(-(length - self.original) // step) * step


class Rotary:
    """Positions as rotations of pairs half a head apart (Su et al. 2021, arXiv:2104.09864).

    The table of angles grows as positions are asked for, by doubling.
    """

    def __init__(self, head_dim: int, theta: float, device: torch.device, scaling: Scaling | None = None) -> None:
        self.head_dim, self.theta, self.device = head_dim, theta, device
        self.scaling = scaling or Scaling()
        self._tables: dict[int, tuple[Tensor, Tensor]] = {}

    def horizon(self, length: int) -> int:
        """Texts of lengths with the same horizon are turned by the same angles."""
        return self.scaling.horizon(length)

    def angles(self, places: slice | Tensor, end: int, horizon: int | None = None) -> tuple[Tensor, Tensor]:
        """cos and sin of new positions, sin with the sign of its half.

        `places` are the same for all rows, up to `end`: (T, 1, head_dim). Or they are (rows,) one a row, the end of
        each one's text: (rows, 1, 1, head_dim).
        """
        if isinstance(places, slice):
            cos, sin = self.table(end, horizon)
            return cos[places], sin[places]
        if self.scaling.changes:  # each row has angles of its own
            import torch

            tables = [self.table(place + 1) for place in places.tolist()]
            cos, sin = (torch.stack([table[at][place] for table, place in zip(tables, places.tolist(), strict=True)]) for at in (0, 1))
        else:
            cos, sin = (each[places] for each in self.table(end))
        return cos[:, None], sin[:, None]

    def table(self, end: int, horizon: int | None = None) -> tuple[Tensor, Tensor]:
        """cos and sin (at least `end`, 1, head_dim) of the positions from 0 on, of a text with this horizon (None: that of `end`)."""
        horizon = self.horizon(end) if horizon is None else horizon
        held = self._tables.get(horizon)
        if held is None or end > len(held[0]):
            if len(self._tables) == MOST_TABLES:
                self._tables.clear()
            held = self._tables[horizon] = self._new(max(end, 2 * len(held[0]) if held else 0, 256), horizon)
        return held

    def _new(self, length: int, horizon: int) -> tuple[Tensor, Tensor]:
        import torch

        turning = frequencies(self.scaling.dim or self.head_dim, self.theta, self.scaling, horizon, self.device)
        still = self.head_dim // 2 - len(turning)
        angles = torch.outer(torch.arange(length, dtype=torch.float32, device=self.device), turning)
        cos, sin = angles.cos().mul_(self.scaling.amplitude), angles.sin().mul_(self.scaling.amplitude)
        cos = torch.cat([cos, cos.new_ones(length, still)], 1)
        sin = torch.cat([sin, sin.new_zeros(length, still)], 1)
        return cos.repeat(1, 2)[:, None], torch.cat([-sin, sin], dim=1)[:, None]


def frequencies(dim: int, theta: float, scaling: Scaling, horizon: int, device: torch.device) -> Tensor:
    """Radians a position (dim / 2) by which each pair of `dim` numbers turns, in a text with this horizon."""
    import torch

    if scaling.kind == "dynamic":
        theta *= (scaling.factor * horizon / scaling.original - (scaling.factor - 1)) ** (dim / (dim - 2))
    wavelengths = theta ** (torch.arange(0, dim, 2, dtype=torch.float32, device=device) / dim)  # over 2 pi
    if scaling.kind == "longrope":
        divisors = scaling.short if horizon == scaling.original else scaling.long
        return 1.0 / (torch.tensor(divisors, device=device) * wavelengths)
    plain = 1.0 / wavelengths
    if scaling.kind == "linear":
        return plain / scaling.factor
    if scaling.kind == "llama3":
        turns = scaling.original * plain / (2 * math.pi)
        kept = ((turns - scaling.low) / (scaling.high - scaling.low)).clamp(0, 1)
    elif scaling.kind == "yarn":
        kept = _ramp(dim, theta, scaling, device)
    else:
        return plain
    return plain / scaling.factor * (1 - kept) + plain * kept


def _ramp(dim: int, theta: float, scaling: Scaling, device: torch.device) -> Tensor:
    """How much of each frequency (dim / 2) YaRN keeps: 1 from `high` turns in the original positions on, 0 up to `low`."""
    import torch

    def place(turns: float) -> float:
        """Which frequency makes so many turns."""
        return dim * math.log(scaling.original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    first, last = place(scaling.high), place(scaling.low)
    if scaling.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, dim - 1)
    last += 0.001 if first == last else 0
    return 1 - ((torch.arange(dim // 2, dtype=torch.float32, device=device) - first) / (last - first)).clamp(0, 1)


def yarn_amplitude(factor: float, scale: float = 1.0) -> float:
    """What YaRN multiplies cosines and sines by, so that attention over many positions stays as sharp."""
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0


def longrope_amplitude(factor: float, original: int) -> float:
    """The same for LongRoPE, whose `original` length counts."""
    return 1.0 if factor <= 1 or original < 2 else math.sqrt(1 + math.log(factor) / math.log(original))


def order(head_dim: int, dim: int) -> list[int]:
    """Where a head's numbers come from, so that pairs stand half a head apart also where only `dim` of them turn.

    Files pair the turning ones half of `dim` apart. Queries and keys in another order have the same products.
    """
    half, still = dim // 2, (head_dim - dim) // 2
    return [*range(half), *range(dim, dim + still), *range(half, dim), *range(dim + still, head_dim)]


def rotate_(x: Tensor, angles: tuple[Tensor, Tensor]) -> None:
    """Turn `x` (rows, T, heads, head_dim), in place, by the angles of its positions."""
    cos, sin = angles
    halves_swapped = x.roll(x.shape[-1] // 2, -1)
    x.mul_(cos).addcmul_(halves_swapped, sin)
