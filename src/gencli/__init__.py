"""gencli: generate text on your own machine, and see and steer how each word was chosen.

The public door, lazy: importing `gencli` loads none of its own modules, and no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gencli.comparison import Comparison, compare
    from gencli.diversity import Survey, survey
    from gencli.errors import GencliError, RunError, UsageError
    from gencli.events import Candidate, Event, Finished, Hashed, Logits, Retracted, StageReport, Started, Token
    from gencli.generation import Options, run
    from gencli.lesson import (
        apply_repetition_penalty,
        create_gpt_tiny,
        generate,
        generate_greedy,
        generate_sample,
        get_token_probabilities,
        get_top_tokens,
        measure_diversity,
        top_k_filtering,
        top_p_filtering,
    )
    from gencli.loading import Session, load
    from gencli.observation import Detail
    from gencli.preset import Preset
    from gencli.replay import Replayed, replay_trace
    from gencli.scores import Change, Reach, Score, ScoredChoice, ScoredToken
    from gencli.scoring import score, score_choices
    from gencli.trace import Trace, TraceWriter, read_trace
    from gencli.variations import Variation
    from gencli.verification import Verification, verify_trace

__version__ = "0.1.0"

_HOMES = {
    "comparison": ("Comparison", "compare"),
    "diversity": ("Survey", "survey"),
    "errors": ("GencliError", "RunError", "UsageError"),
    "events": ("Candidate", "Event", "Finished", "Hashed", "Logits", "Retracted", "StageReport", "Started", "Token"),
    "generation": ("Options", "run"),
    "lesson": (
        "apply_repetition_penalty",
        "create_gpt_tiny",
        "generate",
        "generate_greedy",
        "generate_sample",
        "get_token_probabilities",
        "get_top_tokens",
        "measure_diversity",
        "top_k_filtering",
        "top_p_filtering",
    ),
    "loading": ("Session", "load"),
    "observation": ("Detail",),
    "preset": ("Preset",),
    "scores": ("Change", "Reach", "Score", "ScoredChoice", "ScoredToken"),
    "scoring": ("score", "score_choices"),
    "replay": ("Replayed", "replay_trace"),
    "trace": ("Trace", "TraceWriter", "read_trace"),
    "variations": ("Variation",),
    "verification": ("Verification", "verify_trace"),
}
_HOME = {name: module for module, members in _HOMES.items() for name in members}

__all__ = [
    "Candidate",
    "Change",
    "Comparison",
    "Detail",
    "Event",
    "Finished",
    "GencliError",
    "Hashed",
    "Logits",
    "Options",
    "Preset",
    "Reach",
    "Replayed",
    "Retracted",
    "RunError",
    "Score",
    "ScoredChoice",
    "ScoredToken",
    "Session",
    "StageReport",
    "Started",
    "Survey",
    "Token",
    "Trace",
    "TraceWriter",
    "UsageError",
    "Variation",
    "Verification",
    "__version__",
    "apply_repetition_penalty",
    "compare",
    "create_gpt_tiny",
    "generate",
    "generate_greedy",
    "generate_sample",
    "get_token_probabilities",
    "get_top_tokens",
    "load",
    "measure_diversity",
    "read_trace",
    "replay_trace",
    "run",
    "score",
    "score_choices",
    "survey",
    "top_k_filtering",
    "top_p_filtering",
    "verify_trace",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gencli' has no attribute '{name}'")
    import importlib

    member = getattr(importlib.import_module(f"gencli.{_HOME[name]}"), name)
    globals()[name] = member  # the next access finds it at once
    return member


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
