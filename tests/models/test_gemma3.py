"""What Gemma 3 has beside the shelf's common test: the text part of the model that sees images, and what Google's files leave out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from families import oracle, settings_of
from gencli.errors import RunError
from gencli.models import Model
from gencli.models.gemma3 import Gemma3

SMALL: dict[str, Any] = {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 12, "sliding_window": 1024}


def test_the_text_part_of_the_model_that_sees_images(
    transformers: ModuleType, write: Callable[..., Path], load: Callable[[Path], Model]
) -> None:
    text = transformers.Gemma3TextConfig(**settings_of("gemma3", 0))
    vision = transformers.SiglipVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4
    )
    config = transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    theirs = transformers.Gemma3ForConditionalGeneration._from_config(config, attn_implementation="eager")
    model = load(write(theirs))
    ids = torch.randint(0, model.vocab_size, (2, 20), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(model(ids), theirs(ids).logits, atol=1e-4, rtol=0)


def test_an_older_config_gives_the_same_logits(transformers: ModuleType, write: Callable[..., Path], load: Callable[[Path], Model]) -> None:
    theirs = oracle(transformers, "gemma3", settings_of("gemma3", 0))
    path = write(theirs)
    config = json.loads((path / "config.json").read_text())
    rotations = config.pop("rope_parameters")
    assert rotations["full_attention"]["rope_type"] == "linear"
    config["rope_theta"] = rotations["full_attention"].pop("rope_theta")
    config["rope_scaling"] = rotations["full_attention"]
    config["rope_local_base_freq"] = rotations["sliding_attention"]["rope_theta"]
    config["sliding_window_pattern"] = config.pop("_sliding_window_pattern")
    del config["layer_types"]
    (path / "config.json").write_text(json.dumps(config))
    ids = torch.arange(20)[None]
    with torch.inference_mode():
        torch.testing.assert_close(load(path)(ids), theirs(ids).logits, atol=1e-4, rtol=0)


def test_what_googles_files_leave_out() -> None:
    read = Gemma3.read({"text_config": {**SMALL, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}}, "model_type": "gemma3"})
    assert read.facts == (262208, 131072, 12, 4, 256)
    assert (read.heads, read.tied, read.scale, read.embedding_scale) == (8, True, 1 / 16, 2560**0.5)
    assert read.windows == ((1024,) * 5 + (None,)) * 2
    near, far = read.rotations[0], read.rotations[5]
    assert near is not None
    assert far is not None
    assert (near.theta, near.scaling.kind, far.theta, far.scaling.kind, far.scaling.factor) == (1e4, "default", 1e6, "linear", 8.0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"use_bidirectional_attention": True}, "from left to right"),
        ({"attn_logit_softcapping": 50.0}, "Gemma 2's"),
        ({"layer_types": ["full_attention"]}, "for each of 12 layers"),
        ({"layer_types": ["chunked_attention"] * 12}, "layer_types must name one of full_attention, sliding_attention"),
        ({"sliding_window_pattern": 0}, "sliding_window_pattern must be a whole number from 1"),
        ({"rope_parameters": {"full_attention": 3}}, "full_attention must be a mapping"),
        ({"query_pre_attn_scalar": -1}, "query_pre_attn_scalar must be a number greater than 0"),
    ],
)
def test_a_config_that_cannot_be_is_refused(change: dict[str, Any], says: str) -> None:
    for values in ({**SMALL, **change}, {"text_config": {**SMALL, **change}}):
        with pytest.raises(RunError, match=says):
            Gemma3.read(values)
