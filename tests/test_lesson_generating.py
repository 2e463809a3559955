"""The lesson's generate and its two ends: repeatable, batched, with any model, and ours on its cache."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from gencli.lesson import create_gpt_tiny, generate, generate_greedy, generate_sample, get_token_probabilities
from toys import Counter


def test_prompt_included_and_shapes() -> None:
    prompt = torch.tensor([[1, 2], [7, 8]])
    output = generate(Counter(), prompt, 5)
    assert output.shape == (2, 7)
    assert output.dtype == torch.int64
    assert torch.equal(output[:, :2], prompt)
    assert torch.equal(generate(Counter(), prompt, 0), prompt)


@pytest.mark.parametrize(
    "settings", [{"temperature": 0}, {"do_sample": False}, {"temperature": 0.0, "top_k": 3}, {"do_sample": False, "temperature": 2.0}]
)
def test_temperature_zero_is_greedy(settings: dict[str, Any]) -> None:
    assert generate(Counter(0.01), torch.tensor([[3]]), 8, **settings).tolist() == [[3, 4, 5, 6, 7, 8, 9, 0, 1]]
    assert generate_greedy(Counter(0.01), torch.tensor([[3]]), 3).tolist() == [[3, 4, 5, 6]]


def test_manual_seed_makes_it_repeatable() -> None:
    def sampled(seed: int) -> list[list[int]]:
        torch.manual_seed(seed)
        return [
            generate(Counter(0.5), torch.tensor([[1], [1]]), 12).tolist(),
            generate_sample(Counter(0.5), torch.tensor([[1]]), 12).tolist(),
        ]

    assert sampled(3) == sampled(3) != sampled(4)
    first, second = sampled(3)
    assert first[0] != first[1]  # each row has its own noise
    assert first[0] != second[0]  # each call has its own key


def test_each_call_draws_one_key() -> None:
    torch.manual_seed(8)
    generate(Counter(), torch.tensor([[1], [2]]), 5)
    after_call = torch.randint(2**63 - 1, ())
    torch.manual_seed(8)
    torch.randint(2**63 - 1, ())
    assert torch.equal(torch.randint(2**63 - 1, ()), after_call)


def test_a_row_is_the_sample() -> None:
    """Row 0 of a batch is what it would be alone."""
    torch.manual_seed(5)
    both = generate(Counter(0.5), torch.tensor([[1, 2], [3, 4]]), 9)
    torch.manual_seed(5)
    assert torch.equal(generate(Counter(0.5), torch.tensor([[1, 2]]), 9), both[:1])


def test_stopped_rows_are_filled() -> None:
    output = generate_greedy(Counter(), torch.tensor([[7], [4]]), 9, eos_token_id=9)
    assert output.tolist() == [[7, 8, 9, 9, 9, 9], [4, 5, 6, 7, 8, 9]]  # and the batch ends with its last row


def test_an_end_token_in_the_prompt_ends_nothing() -> None:
    assert generate_greedy(Counter(), torch.tensor([[9]]), 2, eos_token_id=9).tolist() == [[9, 0, 1]]


def test_repetition_penalty_lifts_it_out_of_a_loop() -> None:
    """A model that wants to say 5 for ever."""
    stuck = torch.tensor([0.5, 0.4, 0.3, 0.2, 0.1, 1.0])

    def model(ids: Tensor) -> Tensor:
        return stuck.expand(*ids.shape, -1)

    assert generate_greedy(model, torch.tensor([[5]]), 4).tolist() == [[5, 5, 5, 5, 5]]
    assert generate_greedy(model, torch.tensor([[5]]), 3, repetition_penalty=3.0).tolist() == [[5, 0, 1, 5]]


def test_models_with_logits_and_without() -> None:
    torch.manual_seed(1)
    plain = generate(Counter(0.7), torch.tensor([[1]]), 6)
    torch.manual_seed(1)
    wrapped = generate(lambda ids: SimpleNamespace(logits=Counter(0.7)(ids)), torch.tensor([[1]]), 6)
    assert torch.equal(plain, wrapped)


def test_a_transformers_model() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_positions=64, n_embd=32, n_layer=2, n_head=2)).eval()
    prompt = torch.tensor([[1, 2, 3]])
    theirs = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=10, do_sample=False, pad_token_id=0, eos_token_id=None
    )
    assert torch.equal(generate_greedy(model, prompt, 10), theirs)


def test_any_other_stage_by_its_name() -> None:
    prompt = torch.tensor([[1]])
    assert generate(Counter(), prompt, 6, min_p=1.0).tolist() == [[1, 2, 3, 4, 5, 6, 7]]
    assert generate_greedy(Counter(), prompt, 2, logit_bias={2: -torch.inf}).tolist() == [[1, 0, 1]]
    assert generate_greedy(Counter(), torch.tensor([[8]]), 3, eos_token_id=9, min_new_tokens=2).tolist() == [[8, 0, 1, 2]]


def test_no_gradient() -> None:
    model = Counter()
    assert not get_token_probabilities(model, torch.tensor([[1]])).requires_grad
    generate(model, torch.tensor([[1]]), 2)
    assert model.scale.grad is None


# our own models, with their cache


@pytest.fixture(scope="module")
def tiny() -> Any:
    torch.manual_seed(11)
    return create_gpt_tiny(60)


def test_gpt_tiny_is_close_to_flat(tiny: Any) -> None:
    assert tiny.context == 256
    probs = get_token_probabilities(tiny, torch.tensor([[1, 2, 3], [4, 5, 6]]))
    assert probs.shape == (2, 60)
    assert probs.sum(dim=1).tolist() == pytest.approx([1, 1], abs=1e-6)
    entropy = -(probs.double() * probs.double().log2()).sum(dim=1)
    assert bool((entropy > 0.95 * torch.tensor(60.0).log2()).all())


def test_gpt_tiny_comes_from_torchs_generator() -> None:
    prompt = torch.tensor([[1, 2]])
    probs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        probs.append(get_token_probabilities(create_gpt_tiny(9), prompt))
    assert torch.equal(probs[0], probs[1])
    assert not torch.equal(probs[0], probs[2])


def test_the_cache_changes_nothing_but_the_time(tiny: Any) -> None:
    """Rows with different prompts: read once into the cache, or all of it anew at each step."""
    prompt = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12], [0, 0, 0, 0]])
    shapes: list[tuple[int, ...]] = []

    def counted(ids: Tensor, cache: Any = None, last: bool = False) -> Tensor:
        shapes.append(tuple(ids.shape))
        return tiny(ids, cache, last)

    ours = SimpleNamespace(**{fact: getattr(tiny, fact) for fact in ("vocab_size", "context", "layers", "kv_heads", "head_dim", "device")})
    cached = type("Counted", (), {**vars(ours), "__call__": staticmethod(counted)})()
    outputs = []
    for model in (cached, lambda ids: tiny(ids)):
        torch.manual_seed(2)
        outputs.append(generate(model, prompt, 20, temperature=0.9, top_k=40, top_p=0.9, repetition_penalty=1.2))
    assert torch.equal(outputs[0], outputs[1])
    assert shapes == [(3, 4)] + [(3, 1)] * 19


def test_beyond_the_context_is_refused(tiny: Any) -> None:
    prompt = torch.zeros((1, 250), dtype=torch.int64)
    assert generate_greedy(tiny, prompt, 7).shape == (1, 257)  # the last token is drawn and never read
    with pytest.raises(
        ValueError, match=r"prompt_tokens and max_new_tokens together must fit the model's context of 256: 250 \+ 8 do not\."
    ):
        generate_greedy(tiny, prompt, 8)


def test_ours_refuses_tokens_it_does_not_know(tiny: Any) -> None:
    with pytest.raises(ValueError, match=r"prompt_tokens must lie in 0 \.\. 59, not 60\."):
        generate(tiny, torch.tensor([[60]]), 3)
