"""What a preset can say but hardly mean. Knows no file and no command line."""

from __future__ import annotations

from gencli.preset import Preset
from gencli.preset_reading import StageSettings
from gencli.stages import Stage, knobs

SHORTEST_WINDOW = 16  # tokens; a shorter one hardly spans a sentence
PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty")
LOOKS_BACK = (*PENALTIES, "dry")
# cuts that judge by probabilities, which a temperature changes; and all that never remove the likeliest token
BY_PROBABILITY = ("top_p", "min_p", "typical_p", "top_a", "tail_free", "top_h", "epsilon_cutoff", "eta_cutoff")
SPARES_THE_LIKELIEST = ("top_k", "top_p", "min_p", "top_a", "epsilon_cutoff", "eta_cutoff", "top_n_sigma", "temperature")
CUTS = (*BY_PROBABILITY, "top_k", "top_n_sigma", "xtc")
# what the field uses: the first knob's range, and what happens outside of it
USUAL: dict[str, tuple[float, float, str]] = {
    "guidance": (1.0, 5.0, "below 1 the prompt counts for less, above 5 the text falls apart; write 1.25 to 3"),
    "temperature": (0.0, 2.0, "above 2 the text falls apart; write 0.7 to 1.2"),
    "top_k": (0, 1000, "so many tokens are hardly a cut; write 20 to 100"),
    "top_p": (0.1, 1.0, "below 0.1 one token is left nearly always; write 0.8 to 0.95, or temperature 0"),
    "min_p": (0.0, 0.5, "above 0.5 one token is left nearly always; write 0.02 to 0.2"),
    "repetition_penalty": (1.0, 2.0, "below 1 repetition is rewarded, above 2 the text becomes incoherent; write 1.05 to 1.3"),
    "presence_penalty": (-2.0, 2.0, "beyond 2 it drives out words that a sentence needs; write 0.1 to 1"),
    "frequency_penalty": (-2.0, 2.0, "beyond 2 it drives out words that a sentence needs; write 0.1 to 1"),
}

Built = list[tuple[StageSettings, Stage]]  # stages in order, with their settings


def warnings(preset: Preset) -> list[str]:
    """A sentence for each stage that does nothing or hardly what was meant, beginning with where it stands."""
    built = [(each, each.build()) for each in preset.pipeline]
    found = []
    decided: str | None = None  # by which stage only one token is left
    for at, (settings, stage) in enumerate(built):
        where, before = f"{settings.origin}: ", built[:at]
        if decided:
            found.append(f"{where}{settings.stage} does nothing: {decided} before it leaves one token.")
        elif text := _neutral(stage):
            found.append(f"{where}{settings.stage} does nothing: {text}.")
        else:
            idle = _idle(settings, stage, before, built[at + 1 :])
            hints = [idle] if idle else [_order(settings, stage, before), _window(settings, stage), _unusual(settings, stage)]
            found += [where + each for each in hints if each]
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


def _idle(settings: StageSettings, stage: Stage, before: Built, after: Built) -> str:
    """Why a stage changes nothing where it stands, or an empty text."""
    name = settings.stage
    smaller = [_first(each) for other, each in before if other.stage == "top_k" and 0 < _first(each) <= _first(stage)]
    if name == "top_k" and smaller:
        return f"top_k {_first(stage):g} does nothing: top_k {smaller[0]:g} before it leaves no more."
    if name in SPARES_THE_LIKELIEST and (name, _first(stage)) != ("top_k", 1) and _greedy_follows(after):
        return f"{name} does nothing: temperature 0 after it takes the likeliest token, which it never removes; leave it out."
    return ""


def _greedy_follows(after: Built) -> bool:
    """Whether nothing but what spares the likeliest token stands between a stage and a temperature of 0."""
    for other, each in after:
        if (other.stage, _first(each)) == ("temperature", 0):
            return True
        if other.stage not in SPARES_THE_LIKELIEST:
            return False
    return False


def _order(settings: StageSettings, stage: Stage, before: Built) -> str:
    """What the order makes of a stage, where it is hardly what was meant."""
    name = settings.stage
    cuts = [(other.stage, _first(each)) for other, each in before if other.stage in CUTS and not _neutral(each)]
    judged = [(cut, value) for cut, value in cuts if cut in BY_PROBABILITY]
    if name == "temperature" and 0 < _first(stage) < 1 and judged:
        cut, value = judged[-1]
        return (
            f"{cut} {value:g} before temperature {_first(stage):g} judges the model's own, flatter distribution and keeps more than usual; "
            f"put temperature before {cut}, as most published values mean it, or keep it so to draw as llama.cpp does."
        )
    if (name in PENALTIES or name in ("logit_bias", "guidance")) and cuts:
        return f"{cuts[-1][0]} before {name} has removed what {name} might have let rise; put {name} before {cuts[-1][0]}."
    heat = [_first(each) for other, each in before if other.stage == "temperature" and _first(each) not in (0, 1)]
    if name in ("presence_penalty", "frequency_penalty") and heat:
        return (
            f"{name} {_first(stage):g} after temperature {heat[-1]:g} weighs as {_first(stage) * heat[-1]:g} would before it; "
            f"put {name} before temperature."
        )
    if name == "guidance" and heat:
        return (
            f"guidance after temperature {heat[-1]:g} sets a distribution that was divided by it against one that was not; "
            "put guidance before temperature."
        )
    return ""


def _window(settings: StageSettings, stage: Stage) -> str:
    last = getattr(stage, "last", 0)
    if settings.stage in LOOKS_BACK and 0 < last < SHORTEST_WINDOW:
        return (
            f"{settings.stage} looks back over {last} tokens only, less than most sentences, so that loops longer than that go on; "
            f"write last: 64, or last: 0 for all."
        )
    return ""


def _unusual(settings: StageSettings, stage: Stage) -> str:
    low, high, why = USUAL.get(settings.stage, (-float("inf"), float("inf"), ""))
    value = _first(stage)
    return f"{settings.stage} {value:g} is outside of what is in use: {why}." if value < low or value > high else ""
