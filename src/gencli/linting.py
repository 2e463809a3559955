"""What a preset can say but hardly mean. Knows no file and no command line."""

from __future__ import annotations

from gencli.preset import Preset
from gencli.stages import Stage, knobs


def warnings(preset: Preset) -> list[str]:
    """A sentence for each stage that does nothing, beginning with where it stands."""
    found = []
    decided: str | None = None  # by which stage only one token is left
    for settings in preset.pipeline:
        stage = settings.build()
        if decided:
            found.append(f"{settings.origin}: {settings.stage} does nothing: {decided} before it leaves one token.")
        elif text := _neutral(stage):
            found.append(f"{settings.origin}: {settings.stage} does nothing: {text}.")
        if (settings.stage, _first(stage)) in (("temperature", 0), ("top_k", 1)):
            decided = decided or f"{settings.stage} {_first(stage):g}"
    return found


def _first(stage: Stage) -> float:
    value = getattr(stage, knobs(stage)[0].name)
    return value if isinstance(value, int | float) else float("nan")


def _neutral(stage: Stage) -> str | None:
    """The knob by which a stage changes nothing, in words."""
    for each in knobs(stage):
        value = getattr(stage, each.name)
        if each.neutral is not None and value == each.neutral:
            return f"{each.name} {value:g} is neutral" if isinstance(value, int | float) else f"its {each.name} are empty"
    return None
