"""What each precision costs: bits per byte of a held-out text, and where greedy text leaves that of float32."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from gencli.formats import open_checkpoint
from gencli.loading import Session, session_from
from gencli.models import family
from gencli.precisions.float16 import Float16
from gencli.registry import find, names

# written for this test: the embedded checkpoint cannot have seen it
TEXT = """\
Once there was a small red boat that lived at the end of a long wooden pier. Every morning the fishermen came down the hill with their nets
and their bread, and every morning the boat hoped that someone would take it out to sea. But it was old, and its paint was thin, and nobody
looked at it. "I am only good for the ducks," said the boat to the gull who sat on its mast.

One day a girl named Tilda came running along the pier. Her little brother had gone out to the island to look for shells, and now the tide
was high and the wind was loud, and he could not come back. All of the big boats were far away. Tilda looked at the red boat. "Can you still
swim?" she asked. The boat could not answer, but it rocked so hard that the gull fell off, and Tilda laughed and jumped in.

They went over one wave and under the next. Water came in through a hole as big as a button, and Tilda put her thumb in it and sang so that
she would not be afraid. When they came to the island, her brother was sitting on a stone with his shoes full of shells. "I knew that you
would come," he said, "but I did not know that you would bring a ship."

On the way home the wind went to sleep. The fishermen stood on the pier with their lamps, and they pulled the boat up onto the sand and gave
it a new coat of paint, as red as an apple. After that it had so many friends that it needed to be mended every summer. And the gull came
back to the mast, and told everyone who would listen that it had been the captain.
"""
STEP = 128


@cache
def session(folder: Path, precision: str) -> Session:
    return session_from(folder, precision=precision)


@cache
def bits_per_byte(folder: Path, precision: str) -> float:
    return bits(session(folder, precision))


@torch.inference_mode()
def bits(opened: Session) -> float:
    """A byte of `TEXT`, each token after at least `STEP` others where there are so many."""
    ids = opened.tokenizer.encode(TEXT)
    bits = 0.0
    for start in range(0, len(ids) - 1, STEP):
        window = ids[max(0, start - STEP) : start + STEP + 1]
        told = min(STEP, len(ids) - 1 - start)
        logits = opened.model(torch.tensor([window[:-1]]))[0, -told:]
        bits -= logits.log_softmax(-1).gather(1, torch.tensor(window[-told:])[:, None]).double().sum().item() / math.log(2)
    return bits / len(TEXT.encode())


def loss(folder: Path, precision: str) -> float:
    """Per cent of float32's bits per byte."""
    return 100 * (bits_per_byte(folder, precision) / bits_per_byte(folder, "float32") - 1)


def greedy(opened: Session, count: int) -> list[int]:
    decoder, ids = opened.decoder(), list[int]()
    logits = decoder.prefill(list(opened.tokenizer.start_ids))
    while logits is not None and len(ids) < count:
        ids.append(int(logits.argmax()))
        logits = decoder.step(ids[-1:])
    return ids


def usable(precision: str) -> str:
    if precision == "float16" and "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("this processor has no FBGEMM")
    return precision


MOST = {"float32": 0.0, "float16": 0.05, "bfloat16": 0.5, "int8": 0.5}


@pytest.mark.parametrize("precision", names("precisions"))
def test_a_precision_loses_no_more_than_it_says(fable: Path, precision: str) -> None:
    stated = find("precisions", usable(precision)).loss
    assert stated <= MOST[precision]
    assert loss(fable, precision) <= stated + 0.01  # processors differ in how they sum
    assert 0.4 < bits_per_byte(fable, precision) < 2


def test_float16_on_other_devices_loses_little_more(fable: Path) -> None:
    """Where activations are rounded too: the products that a GPU is given, computed here."""
    opened, checkpoint = session(fable, "float32"), open_checkpoint(fable)
    model = family(checkpoint.config).build(checkpoint.config, checkpoint.tensors, Float16("cuda"))
    assert bits(replace(opened, model=model)) / bits_per_byte(fable, "float32") - 1 < MOST["float16"] / 100


@pytest.mark.parametrize(("precision", "same"), [("float16", 200), ("int8", 20), ("bfloat16", 20)])
def test_greedy_text_is_that_of_float32_for_so_many_tokens(real_data: Path, precision: str, same: int) -> None:
    folder = real_data / "stories260k"
    assert greedy(session(folder, usable(precision)), same) == greedy(session(folder, "float32"), same)
