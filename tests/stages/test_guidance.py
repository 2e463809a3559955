"""Guidance: numbers by hand, and transformers' processor as the reference."""

from __future__ import annotations

import pytest
import torch
from transformers import UnbatchedClassifierFreeGuidanceLogitsProcessor

from gencli.candidates import Candidates
from gencli.errors import UsageError
from gencli.memory import Memory
from gencli.stages import changes
from gencli.stages.guidance import Guidance
from gencli.vocabulary import Vocabulary
from references import agrees

SCALES = (0.0, 0.5, 1.5, 3.0, 20.0)


def handed(logits: torch.Tensor, memory: Memory | None = None, prompt: tuple[int, ...] = ()) -> Memory:
    memory = memory or Memory([0])
    memory.hand(prompt, logits)
    return memory


def test_numbers() -> None:
    """Twice as far from the other text: 1/2 against 1/4 becomes (1/2)^2 / (1/4) = 1, 1/4 against 1/2 becomes 1/8, 1/4 against 1/4 stays."""
    ours, other = (torch.tensor(each).log() for each in ([0.5, 0.25, 0.25], [0.25, 0.5, 0.25]))
    after = Guidance(2.0)(Candidates(ours[None] + 3), [handed(other - 1)])
    torch.testing.assert_close(after.logits, torch.tensor([[1.0, 0.125, 0.25]]).log())


def test_one_is_the_candidates_themselves_and_needs_nothing() -> None:
    candidates = Candidates(torch.tensor([[1.0, 2.0]]))
    assert Guidance(1.0, "other")(candidates, [Memory([0])]) is candidates
    assert Guidance(1.0, "other").needs is None
    assert not changes(Guidance(1.0, "other"))


def test_a_removed_token_stays_removed_and_what_the_other_text_rules_out_keeps_its_place() -> None:
    gone = -torch.inf
    after = Guidance(3.0)(Candidates(torch.tensor([[0.0, gone, 0.0]])), [handed(torch.tensor([gone, 1.0, 2.0]))])
    assert after.logits[0].tolist()[1] == gone
    assert float(after.logits[0, 0]) == pytest.approx(float(torch.tensor(0.5).log()))


def test_of_fewer_candidates_the_odds_are_the_same() -> None:
    """A constant apart, as the rest of the vocabulary does not count."""
    row, other = torch.randn(2, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    stage, some = Guidance(1.7), torch.tensor([1, 4, 5, 8])
    whole, part = (stage(each, [handed(other)]) for each in (Candidates(row[None]), Candidates(row[None, some], some[None])))
    torch.testing.assert_close(part.probs(), Candidates(whole.logits[:, some]).probs())


def test_the_negative_prompt_begins_as_a_prompt_does() -> None:
    vocabulary = Vocabulary(200, [], frozenset(), frozenset(), lambda text: [ord(each) for each in text], start_ids=(1,))
    assert Guidance(1.5, "ab").bind(vocabulary).needs == (1, 97, 98)
    assert Guidance(1.5).bind(vocabulary).needs == ()


def test_without_the_other_logits_it_is_a_sentence() -> None:
    memory = handed(torch.zeros(2), prompt=(7,))
    with pytest.raises(UsageError, match="guidance asks the model twice at every step, which cannot be done here"):
        Guidance(1.5)(Candidates(torch.zeros(1, 2)), [memory])


def test_agrees_with_transformers() -> None:
    """Over each distribution, set against another of the same size, in float64."""

    def other(row: torch.Tensor) -> torch.Tensor:
        return torch.randn(row.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(row.shape[1])) * 3

    class Told:
        """What the processor asks of a model: logits that the test gives."""

        def __init__(self, logits: torch.Tensor) -> None:
            self.logits = logits

        def __call__(self, *_: object, **__: object) -> object:
            return type("Output", (dict,), {"logits": self.logits[:, None]})()

    class Fed:
        """A stage whose memory was handed the same logits before."""

        def __init__(self, stage: Guidance) -> None:
            self.stage = stage

        def __call__(self, candidates: Candidates, memories: list[Memory]) -> Candidates:
            return self.stage(candidates, [handed(other(candidates.logits)[0], memory) for memory in memories])

    def theirs(fed: Fed, row: torch.Tensor, memory: Memory) -> torch.Tensor:
        found = UnbatchedClassifierFreeGuidanceLogitsProcessor(fed.stage.scale, Told(other(row)))(torch.zeros(1, 1, dtype=torch.int64), row)
        return found.masked_fill(row == -torch.inf, -torch.inf)  # theirs makes NaN of a removed token at a scale of 0

    agrees([Fed(Guidance(scale)) for scale in SCALES], theirs)
