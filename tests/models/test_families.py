"""Every family on the shelf answers as transformers does, on configurations by chance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from families import FAMILIES, oracle, settings_of
from gencli import decoder as module
from gencli.decoder import Decoder
from gencli.models import Model
from gencli.registry import names

SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))]
TOKENS = 64


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_answers_as_the_oracle_does(
    transformers: ModuleType,
    write: Callable[..., Path],
    load: Callable[[Path], Model],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    seed: int,
) -> None:
    theirs = oracle(transformers, name, settings_of(name, seed))
    model = load(write(theirs, seed))
    torch.manual_seed(seed)
    prompt = torch.randint(0, model.vocab_size, (7,)).tolist()
    decoder = Decoder(model)
    steps = [prefilled(decoder, prompt)]
    tokens = list(prompt)
    for _ in range(TOKENS):
        tokens.append(int(steps[-1].argmax()))
        steps.append(decoder.step(tokens[-1:]))
    with torch.inference_mode():
        expected = theirs(torch.tensor([tokens])).logits[0]
        whole = model(torch.tensor([tokens]))[0]
    torch.testing.assert_close(whole, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cat(steps), expected[len(prompt) - 1 :], atol=1e-4, rtol=0)  # with the cache, also beyond a window
    # each token is the oracle's likeliest after those before it, or as likely as that: so it would write the same
    best, chosen = expected[len(prompt) - 1 : -1], torch.tensor(tokens[len(prompt) :])
    assert bool((best.amax(1) - best.gather(1, chosen[:, None])[:, 0] <= 2e-4).all())
    monkeypatch.setattr(module, "CHUNK", 11)
    torch.testing.assert_close(prefilled(Decoder(model), tokens)[0], expected[-1], atol=1e-4, rtol=0)
    rows = Decoder(model)
    prefilled(rows, tokens[:9])
    rows.join(tokens[:40])
    torch.testing.assert_close(rows.step([tokens[9], tokens[40]]), expected[[9, 40]], atol=1e-4, rtol=0)


def test_every_family_on_the_shelf_is_compared() -> None:
    assert sorted(FAMILIES) == list(names("models"))


def prefilled(decoder: Decoder, ids: list[int]) -> torch.Tensor:
    logits = decoder.prefill(ids)
    assert logits is not None
    return logits
