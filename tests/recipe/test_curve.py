"""The plot is well-formed and holds every curve, whatever the log."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from recipe.curve import svg

ROWS = [{"step": step, "tokens": step * 512, "loss": 8 / step} for step in range(1, 1000)]
HELD = [{"step": 500, "held": {"prose": 2.5, "chat": 2.0}}, {"step": 999, "held": {"prose": 2.0, "chat": 1.5}}]


@pytest.mark.parametrize("rows", [[], ROWS[:1], ROWS, ROWS + HELD], ids=len)
def test_the_curve_is_drawn(rows: list[dict[str, object]]) -> None:
    drawing = ElementTree.fromstring(svg(rows))
    paths = [each for each in drawing.iter("{http://www.w3.org/2000/svg}path") if each.get("fill") == "none"]
    assert len(paths) == bool(rows) + 2 * (HELD[0] in rows)
    assert len(svg(rows)) < 20_000


def test_a_run_that_began_with_a_checkpoint_fills_the_picture() -> None:
    later = [{**row, "tokens": 2_000_000 + int(row["tokens"])} for row in ROWS]
    drawing = ElementTree.fromstring(svg(later))
    first = next(each for each in drawing.iter("{http://www.w3.org/2000/svg}path") if each.get("fill") == "none")
    points = [float(each.strip("ML ").split(",")[0]) for each in str(first.get("d")).split(" L")]
    assert points[0] < 60
    assert points[-1] > 700
    assert "2 M tokens" in svg(later)
    assert "2.51 M tokens" in svg(later)
