"""The second sequence of guidance: transformers' formula and text, rows alone and together, and rewinding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gencli.decoder import Decoder
from gencli.guidance import Companion, guided
from gencli.loading import load
from gencli.models import Model
from test_decoder import CONTEXT, gpt2, prefilled


def followed(model: Model, prompt: list[int], negative: list[int], scale: float, count: int, **settings: object) -> list[int]:
    """Greedy decoding under guidance."""
    decoder, beside = Decoder(model, **settings), Companion(model, prompt, negative, **settings)  # type: ignore[arg-type]
    logits, unguided, ids = prefilled(decoder, prompt), beside.prefill(), []
    while len(ids) < count:
        ids.append(int(guided(logits, unguided, scale).argmax()))
        if len(ids) < count:
            logits, unguided = decoder.step(ids[-1:]), beside.step(ids[-1:])
    return ids


def test_the_formula_is_that_of_transformers() -> None:
    processors = pytest.importorskip("transformers.generation.logits_process")
    noise = torch.Generator().manual_seed(0)
    logits, other = (torch.randn(1000, 50, generator=noise, dtype=torch.float64) * 4 for _ in range(2))

    class Told:  # what the processor asks of a model: the logits that this test gives
        def __call__(self, *_: object, **__: object) -> object:
            return type("Output", (dict,), {"logits": other[:, None]})()

    for scale in (0.0, 0.5, 1.5, 3.0, -1.0):
        theirs = processors.UnbatchedClassifierFreeGuidanceLogitsProcessor(scale, Told())(torch.zeros(1000, 1, dtype=torch.int64), logits)
        torch.testing.assert_close(guided(logits, other, scale), theirs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(guided(logits, other, 1.0), logits.log_softmax(-1))


@pytest.mark.parametrize("negative", [[], [1, 403, 407]])
def test_the_text_is_that_of_transformers(real_data: Path, negative: list[int]) -> None:
    transformers = pytest.importorskip("transformers")
    path, prompt = real_data / "stories260k", [1, 403, 407, 261, 378]
    theirs = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    negatives = {"negative_prompt_ids": torch.tensor([negative])} if negative else {}
    text = theirs.generate(
        torch.tensor([prompt]), guidance_scale=1.5, max_new_tokens=64, min_new_tokens=64, do_sample=False, pad_token_id=0, **negatives
    )
    # min_new_tokens bars the end token, which neither text comes to of itself
    assert followed(load(str(path)).model, prompt, negative, 1.5, 64) == text[0, len(prompt) :].tolist()


@pytest.mark.parametrize("overflow", ["error", "slide"])
def test_no_cache_gives_the_same(overflow: str) -> None:
    count = 8 if overflow == "error" else 3 * CONTEXT
    texts = [followed(gpt2(), [3, 4, 5], [7, 8], 2.0, count, overflow=overflow, cache=cache) for cache in (True, False)]
    assert texts[0] == texts[1]


def test_a_row_rewound_and_kept_goes_on_as_alone() -> None:
    model = gpt2()
    alone, batch = (Companion(model, [3, 4], [7, 8]) for _ in range(2))
    first = alone.prefill()
    batch.prefill(rows=2)
    batch.step([5, 9])
    batch.step([6, 9])
    again = batch.rewind(0, row=1)
    assert again == 8
    torch.testing.assert_close(batch.step([2, again])[1:], first)
    assert batch.rewind(2, row=0) is None
    batch.keep([1])
    torch.testing.assert_close(batch.step([5]), alone.step([5]))
