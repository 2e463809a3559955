"""Bits per byte against the definition: one token at a time, and against what gencli scores."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from recipe.evaluation import _windows, bits_per_byte, held_texts, open_checkpoint

TEXT = "Once upon a time there was a little fox who lived in the wood. "


def test_a_short_text_costs_what_its_tokens_cost(fable: Path) -> None:
    network, tokenizer = open_checkpoint(fable)
    ids = [0, *tokenizer.encode(TEXT).ids]
    with torch.inference_mode():
        logprobs = network(torch.tensor([ids])).log_softmax(-1)[0]
    nats = -sum(float(logprobs[at - 1, ids[at]]) for at in range(1, len(ids)))
    assert bits_per_byte(network, tokenizer, [TEXT]) == pytest.approx(nats / math.log(2) / len(TEXT), rel=1e-5)
    # beside longer and shorter ones nothing changes
    both = bits_per_byte(network, tokenizer, [TEXT, "A dog."])
    alone = bits_per_byte(network, tokenizer, ["A dog."])
    assert both == pytest.approx((nats / math.log(2) + alone * 6) / (len(TEXT) + 6), rel=1e-5)


def test_gencli_scores_alike(fable: Path) -> None:
    from gencli.loading import load
    from gencli.scoring import score

    network, tokenizer = open_checkpoint(fable)
    given = score(load(str(fable), precision="float32"), TEXT)
    assert bits_per_byte(network, tokenizer, [TEXT]) == pytest.approx(given.bits_per_byte, rel=1e-4)


@pytest.mark.parametrize("count", [0, 1, 2, 16, 17, 18, 24, 25, 26, 57, 100])
def test_every_token_but_the_first_is_new_once(count: int) -> None:
    ids = list(range(count))
    new = [each for window, known in _windows(ids, 16) for each in window[known:]]
    assert new == ids[1:]
    for window, known in _windows(ids, 16):
        assert len(window) <= 17
        assert known >= 1
        assert window == list(range(window[0], window[0] + len(window)))


def test_held_texts_are_spread_and_bounded(data: Path) -> None:
    every, some = held_texts(data, "stories"), held_texts(data, "stories", 900)
    assert set(some) < set(every)
    assert len("".join(some)) < 1500
    assert len(held_texts(data, "prose", 500)[0]) == 500
