"""Random small checkpoints written by transformers, the oracle that our logits are compared with."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from gencli.decoder import Decoder
from gencli.formats import open_checkpoint
from gencli.models import Model, family
from gencli.precisions.float32 import Float32


@pytest.fixture(scope="session")
def transformers() -> ModuleType:
    """The oracle; what it warns of while it is imported is not our concern."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers
        from transformers import GPT2LMHeadModel, LlamaForCausalLM  # noqa: F401  (its modules are lazy)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Fills an oracle model with numbers that make its answers far from flat, and writes it."""

    def write(oracle: Any, seed: int = 0, dtype: torch.dtype = torch.float32) -> Path:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in oracle.named_parameters():
                spread = 0.2 if weight.dim() > 1 else 0.1
                centre = 1.0 if weight.dim() == 1 and name.endswith("weight") else 0.0
                # what is rounded to the file's type before it is compared, is the same on both sides
                weight.copy_((centre + spread * torch.randn(weight.shape, generator=generator)).to(dtype))
        # the weights alone: in half precision its table of rotary frequencies would be rounded too
        oracle.eval().save_pretrained(tmp_path, state_dict={name: tensor.to(dtype) for name, tensor in oracle.state_dict().items()})
        return tmp_path

    return write


def loaded(path: Path) -> Model:
    checkpoint = open_checkpoint(path)
    return family(checkpoint.config).build(checkpoint.config, checkpoint.tensors, Float32())


@pytest.fixture(scope="session")
def load() -> Callable[[Path], Model]:
    """Our model of a checkpoint, without its tokenizer."""
    return loaded


def greedy(model: Model, prompt: list[int], count: int) -> list[int]:
    """The likeliest tokens after a prompt, by the cache."""
    decoder = Decoder(model)
    logits = decoder.prefill(prompt)
    assert logits is not None
    ids: list[int] = []
    while len(ids) < count:
        ids.append(int(logits.argmax()))
        logits = decoder.step(ids[-1:])
    return ids


@pytest.fixture(scope="session")
def agree() -> Callable[..., Model]:
    """Checks that a written checkpoint answers as its oracle does: logits, last logits, 64 greedy tokens."""

    def agree(oracle: Any, path: Path, tokens: int = 64) -> Model:
        model = loaded(path)
        ids = torch.randint(0, model.vocab_size, (2, 17), generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            expected = oracle(ids).logits
            torch.testing.assert_close(model(ids), expected, atol=1e-4, rtol=0)
            torch.testing.assert_close(model(ids, last=True), expected[:, -1:], atol=1e-4, rtol=0)
            prompt = ids[0, :5].tolist()
            written = greedy(model, prompt, tokens)
            # each token is the likeliest after those before it, so all of them are what the oracle would write
            likeliest = oracle(torch.tensor([prompt + written])).logits[0].argmax(-1)
        assert likeliest[4:-1].tolist() == written
        return model

    return agree
