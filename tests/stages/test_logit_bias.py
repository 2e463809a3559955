"""Logit bias: by id and by text, forbidding, and what must be refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from transformers import SequenceBiasLogitsProcessor

from gencli.candidates import Candidates
from gencli.errors import UsageError
from gencli.memory import Memory
from gencli.registry import find
from gencli.stages import build
from gencli.stages.logit_bias import LogitBias
from gencli.vocabulary import Vocabulary
from references import agrees

TEXTS = ["a", "b", " cat", "c"]


def encode(text: str) -> list[int]:
    """A toy tokenizer: the whole text if it is a token, else letter by letter."""
    return [TEXTS.index(text)] if text in TEXTS else [TEXTS.index(letter) for letter in text if letter in TEXTS]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary(len(TEXTS), [text.encode() for text in TEXTS], frozenset(), frozenset(), encode)


def stage(entries: object) -> LogitBias:
    built: LogitBias = build("logit_bias", find("stages", "logit_bias"), {"entries": entries})
    return built


def test_by_text_and_by_id(vocabulary: Vocabulary) -> None:
    bound = stage({" cat": 2, 0: -1.5}).bind(vocabulary)
    assert bound.entries == ((2, 2.0), (0, -1.5))
    assert bound(Candidates(torch.zeros((2, 4))), ()).logits.tolist() == [[-1.5, 0.0, 2.0, 0.0]] * 2


def test_biases_of_one_token_add_up(vocabulary: Vocabulary) -> None:
    assert stage([("a", 1), (0, 2)]).bind(vocabulary)(Candidates(torch.zeros((1, 4))), ()).logits.tolist() == [[3.0, 0.0, 0.0, 0.0]]


def test_forbids(kept) -> None:
    assert kept(stage({1: -math.inf, 3: -math.inf})(Candidates(torch.zeros((1, 4))), ())) == [0, 2]


def test_forbidding_everything_forbids_nothing(kept) -> None:
    """The biases hold even so; only the bans of the row that would be empty do not."""
    candidates = Candidates(torch.tensor([[0.0, 0.0], [0.0, -math.inf]]))
    after = stage([(0, -math.inf), (0, 1.0)])(candidates, ())
    assert after.logits.tolist() == [[-math.inf, 0.0], [1.0, -math.inf]]


def test_a_removed_token_stays_removed() -> None:
    after = stage({0: 100})(Candidates(torch.tensor([[-math.inf, 1.0]])), ())
    assert after.logits.tolist() == [[-math.inf, 1.0]]


def test_after_a_filter() -> None:
    shrunk = Candidates(torch.tensor([[1.0, 2.0], [3.0, -math.inf]]), torch.tensor([[1, 3], [2, 2]]))
    after = stage({3: 1, 2: 1, 0: 5})(shrunk, ())
    assert after.logits.tolist() == [[1.0, 3.0], [4.0, -math.inf]]


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"ab": 1}, r"logit_bias: 'ab' is 2 tokens, not one: 'a' \(0\), 'b' \(1\)\. Name the tokens one by one\."),
        ({"?": 1}, r"logit_bias: '\?' is 0 tokens, not one: none\."),
        ({4: 1}, r"logit_bias: token id 4 is outside the vocabulary \(0 to 3\)\."),
    ],
)
def test_bind_refuses(vocabulary: Vocabulary, entries: dict[str | int, float], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        stage(entries).bind(vocabulary)


def test_a_bias_out_of_range_names_the_token() -> None:
    with pytest.raises(UsageError, match=r"logit_bias: the bias of 'a' must be -inf or in \[-10000, 10000\], not 10001\."):
        stage({"a": 10001})


def test_because() -> None:
    assert stage({0: -math.inf}).because(Candidates(torch.zeros((1, 2))), 0, 0) == "its bias is -inf"


def test_agrees_with_transformers() -> None:
    """Biases that float32 holds exactly: transformers keeps its own in it."""

    def theirs(stage: LogitBias, row: Tensor, memory: Memory) -> Tensor:
        biases = {(token,): bias for token, bias in stage.entries if token < row.shape[1]}
        return SequenceBiasLogitsProcessor(biases)(torch.tensor([memory.ids]), row)

    agrees([LogitBias(((0, 2.5),)), LogitBias(((1, -1.25), (0, 8.0), (150, -0.5))), LogitBias(((0, -math.inf), (3, 1.5)))], theirs)
