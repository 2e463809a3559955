"""The public door: exactly these names, each where it says it is, and none of it loaded before it is asked for."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import pkgutil
import subprocess
import sys

import pytest

import gencli

HEAVY = {"torch", "numpy", "click", "rich", "yaml", "tokenizers", "tiktoken", "safetensors"}
EXPORTED = [
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


def in_a_fresh_process(program: str) -> list[str]:
    """What `program` prints as JSON."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    answer: list[str] = json.loads(done.stdout)
    return answer


def test_exactly_these_names() -> None:
    assert gencli.__all__ == EXPORTED
    assert sorted([*gencli._HOME, "__version__"]) == EXPORTED


@pytest.mark.parametrize("name", EXPORTED)
def test_every_name_is_there(name: str) -> None:
    member = getattr(gencli, name)
    assert member is getattr(gencli, name)
    if name != "__version__":
        assert member is getattr(importlib.import_module(f"gencli.{gencli._HOME[name]}"), name)
    assert name in dir(gencli)


def test_no_name_is_a_modules_name() -> None:
    modules = {module.name for module in pkgutil.iter_modules(gencli.__path__)}
    assert not modules & set(EXPORTED)


def test_importing_it_loads_nothing() -> None:
    loaded = in_a_fresh_process("import sys, json, gencli; dir(gencli); gencli.__version__; print(json.dumps(sorted(sys.modules)))")
    assert [name for name in loaded if name.startswith("gencli.")] == []
    assert not {name.split(".")[0] for name in loaded} & HEAVY


def test_events_and_presets_load_no_torch() -> None:
    program = "import sys, json; from gencli import Preset, Token, Finished, UsageError; print(json.dumps(sorted(sys.modules)))"
    assert not {name.split(".")[0] for name in in_a_fresh_process(program)} & (HEAVY - {"yaml"})


def test_a_star_brings_them_all() -> None:
    program = "import json; from gencli import *; print(json.dumps(sorted(name for name in dir() if name != 'json')))"
    assert set(EXPORTED) <= set(in_a_fresh_process(program))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'gencli' has no attribute 'generat'"):
        gencli.generat()
    assert not hasattr(gencli, "utils")


def test_the_version_is_the_installed_one() -> None:
    assert gencli.__version__ == importlib.metadata.version("gencli")
