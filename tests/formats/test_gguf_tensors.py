"""Every architecture through a GGUF file and back: the logits are the folder's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from architectures import random_checkpoint, readable
from gencli.conversion import convert
from gencli.formats import open_checkpoint
from weights import logits


@pytest.mark.parametrize("model_type", readable())
def test_a_file_of_float32_gives_the_folders_logits(model_type: str, fable: Path, tmp_path: Path) -> None:
    folder = random_checkpoint(tmp_path / "folder", model_type, fable)
    convert(open_checkpoint(folder), tmp_path / "x.gguf", "gguf", "float32")
    there = open_checkpoint(tmp_path / "x.gguf")
    assert set(there.headers) == set(open_checkpoint(folder).headers)
    torch.testing.assert_close(logits(tmp_path / "x.gguf"), logits(folder), atol=1e-5, rtol=0)
    convert(there, tmp_path / "back", "huggingface", "float32")
    torch.testing.assert_close(logits(tmp_path / "back"), logits(folder), atol=1e-5, rtol=0)
    torch.testing.assert_close(oracle(tmp_path / "back"), oracle(folder), atol=1e-5, rtol=0)


def oracle(folder: Path) -> torch.Tensor:
    """What transformers makes of a folder."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return model(torch.arange(20)[None]).logits
