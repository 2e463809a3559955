"""The loss over the tokens, as an SVG. Knows no training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

WIDE, HIGH, LEFT, BELOW, ABOVE = 720, 400, 56, 40, 24
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf")
POINTS = 240  # of the loss; what lies between two is averaged


def svg(rows: Sequence[Mapping[str, Any]]) -> str:
    """The log's rows as curves: the loss in bits a token, and bits per byte of every ability's held-out text."""
    tokens = {row["step"]: row["tokens"] for row in rows if "loss" in row}
    losses = [(row["tokens"], row["loss"] / 0.6931471805599453) for row in rows if "loss" in row]
    lines: dict[str, list[tuple[float, float]]] = {"training loss, bits per token": _thinned(losses)}
    for row in rows:
        for name, bits in row.get("held", {}).items():
            if row["step"] in tokens:
                lines.setdefault(f"{name}, bits per byte", []).append((tokens[row["step"]], bits))
    lines = {name: points for name, points in lines.items() if points}
    return _plane(lines)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    size = max(1, len(points) // POINTS)
    parts = [points[at : at + size] for at in range(0, len(points), size)]
    return [(fmean(x for x, _ in part), fmean(y for _, y in part)) for part in parts]


def _plane(lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    every = [point for points in lines.values() for point in points]
    far = max((x for x, _ in every), default=1.0) or 1.0
    near = min((x for x, _ in every), default=0.0)
    near = near if far / 2 < near < far else 0.0  # a run that began with a checkpoint fills the picture, too
    legend = ABOVE + (HIGH - BELOW - ABOVE) / 4 if near else ABOVE  # between the losses, which are flat there
    most = min(12.0, max((y for _, y in every), default=1.0)) or 1.0

    def place(x: float, y: float) -> str:
        across, up = (x - near) / (far - near), min(y, most) / most
        return f"{LEFT + across * (WIDE - LEFT - 16):.1f},{HIGH - BELOW - up * (HIGH - BELOW - ABOVE):.1f}"

    def text(x: float, y: float, words: str, anchor: str = "start", colour: str = "#444") -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{words}</text>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDE}" height="{HIGH}" fill="white"/>',
    ]
    for tick in range(5):
        tokens = near + (far - near) * tick / 4
        across, up = place(tokens, 0).split(","), place(near, most * tick / 4).split(",")
        parts.append(
            text(
                float(across[0]),
                HIGH - BELOW + 18,
                f"{tokens / 1e6:.{3 if near else 2}g} M tokens" if tokens else "0",
                "middle" if tick < 4 else "end",
            )
        )
        parts.append(text(LEFT - 6, float(up[1]) + 4, f"{most * tick / 4:.1f}", "end"))
        parts.append(f'<path d="M{place(near, most * tick / 4)} L{place(far, most * tick / 4)}" stroke="#ddd"/>')
    for at, (name, points) in enumerate(lines.items()):
        colour = COLOURS[at % len(COLOURS)]
        path = " L".join(place(x, y) for x, y in points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(text(WIDE - 20, legend + 16 * (at + 1), name, "end", colour))
    return "\n".join([*parts, "</svg>", ""])
