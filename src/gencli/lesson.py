"""The teaching functions on plain tensors: the command line's own stages, draw and noise through another door.

Knows no text, file or terminal. Tensors are batch first; filters set what they remove to -inf and
never touch their input. Every error is a `ValueError` that names the argument and its range.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gencli.cache import KVCache
from gencli.candidates import Candidates
from gencli.drawing import draw
from gencli.errors import UsageError, unknown
from gencli.memory import Memory
from gencli.models.gpt2 import Gpt2, Gpt2Config, random_gpt2
from gencli.pipeline import Pipeline
from gencli.registry import find, names
from gencli.stages import Knob, Stage, build, knobs
from gencli.variety import unique_share
from gencli.vocabulary import Vocabulary

LARGEST_KEY = 2**63 - 1


def top_k_filtering(logits: Tensor, top_k: int | None) -> Tensor:
    """`logits` (B, V) with exactly the `top_k` largest of each row left, the lowest ids among ties.

    0, None or a number of at least V keeps all. Raises `ValueError` for a negative `top_k` and for
    logits that are no numbers.
    """
    return _filtered(logits, "top_k", 0 if top_k is None else top_k)


def top_p_filtering(logits: Tensor, top_p: float | None) -> Tensor:
    """`logits` (B, V) with the smallest set left, likeliest first, whose cumulative probability reaches `top_p`.

    At least one survives; a sum that equals `top_p` completes the set; 1 or None keeps all. Raises
    `ValueError` for a `top_p` outside (0, 1] and for logits that are no numbers.
    """
    return _filtered(logits, "top_p", 1.0 if top_p is None else top_p)


def apply_repetition_penalty(logits: Tensor, previous_tokens: Tensor, penalty: float) -> Tensor:
    """`logits` (B, V), where ids in `previous_tokens` (B, T) appeared: positive ones divided, negative multiplied.

    Once, however often an id appeared; a penalty of 1 changes nothing. Raises `ValueError` for a
    penalty that is not above 0 (0.01 to 100), ids outside 0 .. V-1, and logits that are no numbers.
    """
    candidates = _candidates(logits)
    stage = _stage("repetition_penalty", penalty, "penalty")
    rows = _tokens(previous_tokens, "previous_tokens", candidates.width, least=0)
    if len(rows) != candidates.rows:
        raise UsageError(f"previous_tokens must have one row for each of the {candidates.rows} rows of logits, not {len(rows)}.")
    changed = stage(candidates, [Memory(row) for row in rows.tolist()])
    return changed.logits.to(logits.device, logits.dtype, copy=True)


def generate(
    model: Any,
    prompt_tokens: Tensor,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    do_sample: bool = True,
    eos_token_id: int | None = None,
    repetition_penalty: float = 1.0,
    **stages: Any,
) -> Tensor:
    """`prompt_tokens` (B, T) int64 continued by up to `max_new_tokens`: (B, T + new), the prompt included.

    A batch goes on until every row has stopped; a row that has stopped is filled with `eos_token_id`.
    `temperature` 0, or `do_sample` False, takes the likeliest token. Any other stage is set by its
    name and first knob (`min_p=0.05`); they run in their standard order.

    `model` is any callable (B, T) -> (B, T, V), or returns an object with `.logits`; one of ours is used
    with its KV cache. Each call draws one 63-bit key from torch's global generator, so
    `torch.manual_seed` makes it repeatable; the row is the sample. Raises `ValueError` for a setting
    out of range, an empty prompt, and logits that are no numbers.
    """
    settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "repetition_penalty": repetition_penalty, **stages}
    pipeline = _pipeline(settings, do_sample)
    prompt = _tokens(prompt_tokens, "prompt_tokens")
    key = int(torch.randint(LARGEST_KEY, ()))
    memories = [Memory(row, key, sample) for sample, row in enumerate(prompt.tolist())]
    return _generated(model, prompt, max_new_tokens, pipeline, memories, eos_token_id)


def generate_greedy(model: Any, prompt_tokens: Tensor, max_new_tokens: int, **settings: Any) -> Tensor:
    """`generate` with the likeliest token at every step; `settings` are those of `generate`."""
    return generate(model, prompt_tokens, max_new_tokens, **{**settings, "do_sample": False})


def generate_sample(model: Any, prompt_tokens: Tensor, max_new_tokens: int, **settings: Any) -> Tensor:
    """`generate` with a draw at every step; `settings` are those of `generate`."""
    return generate(model, prompt_tokens, max_new_tokens, **{**settings, "do_sample": True})


@torch.no_grad()
def get_token_probabilities(model: Any, prompt_tokens: Tensor) -> Tensor:
    """(B, V) float32: how likely each token comes next after `prompt_tokens` (B, T); rows sum to 1, no gradient."""
    prompt = _tokens(prompt_tokens, "prompt_tokens")
    return _candidates(_Reader(model, prompt, 0)(prompt), "logits of model").probs().float()


def get_top_tokens(probs: Tensor, k: int = 5) -> list[tuple[int, float]]:
    """The `k` likeliest of `probs` (V,) or (1, V) as [(id, probability)], likeliest first, the lowest ids among ties.

    A `k` above V lists all. Raises `ValueError` for a negative `k` or another shape.
    """
    count = _whole(k, "k")
    row = probs[0] if probs.dim() == 2 and probs.shape[0] == 1 else probs
    if row.dim() != 1 or bool(row.isnan().any()):
        raise UsageError(f"probs must be numbers of the shape (V,) or (1, V), not {_shape(probs)} or NaN.")
    values, ids = row.detach().sort(descending=True, stable=True)
    return list(zip(ids[:count].tolist(), values[:count].tolist(), strict=True))


def measure_diversity(model: Any, prompt_tokens: Tensor, num_samples: int = 20, max_new_tokens: int = 20, **settings: Any) -> float:
    """The share of unique outputs, 0 to 1, among `num_samples` with the seeds 0 .. num_samples - 1.

    `settings` are those of `generate`. torch's global generator is not used.
    """
    count = _whole(num_samples, "num_samples", low=1)
    eos_token_id, do_sample = settings.pop("eos_token_id", None), settings.pop("do_sample", True)
    pipeline = _pipeline(settings, do_sample)
    prompt = _tokens(prompt_tokens, "prompt_tokens")
    memories = [Memory(row, seed, sample) for seed in range(count) for sample, row in enumerate(prompt.tolist())]
    output = _generated(model, prompt.repeat(count, 1), max_new_tokens, pipeline, memories, eos_token_id)
    return unique_share([tuple(each) for each in output.reshape(count, -1).tolist()])


def create_gpt_tiny(vocab_size: int) -> Gpt2:
    """A small untrained GPT (context 256) whose distribution is close to flat; weights come from torch's global generator."""
    size = _whole(vocab_size, "vocab_size", low=1)
    return random_gpt2(Gpt2Config(vocab_size=size, context=256, width=128, layers=4, heads=4, mlp_width=512))


def _whole(value: Any, name: str, low: int = 0) -> int:
    return int(Knob(name, "int", "", low, low=low).check(value, name))


def _candidates(logits: Tensor, name: str = "logits") -> Candidates:
    """Checked logits (B, V) as candidates, in float32 where they are coarser."""
    if not isinstance(logits, Tensor) or logits.dim() != 2 or not logits.numel() or not logits.is_floating_point():
        raise UsageError(f"{name} must be a tensor (B, V) of floats, not {_shape(logits)}.")
    fine = logits if logits.dtype in (torch.float32, torch.float64) else logits.float()
    candidates = Candidates(fine.cpu())
    if not bool(candidates.peak.isfinite().all()):
        raise UsageError(f"{name} must be numbers, at least one in each row; -inf removes a token, and NaN or +inf are out of range.")
    return candidates


def _tokens(tokens: Tensor, name: str, size: int | None = None, least: int = 1) -> Tensor:
    """Checked ids (B, T), at least `least` a row, below `size` where it is known, as int64."""
    whole = isinstance(tokens, Tensor) and not (tokens.is_floating_point() or tokens.is_complex() or tokens.dtype == torch.bool)
    if not whole or tokens.dim() != 2 or not tokens.shape[0] or tokens.shape[1] < least:
        raise UsageError(f"{name} must be token ids (B, T), int64, with at least {least} a row, not {_shape(tokens)}.")
    low, high = (int(tokens.min()), int(tokens.max())) if tokens.numel() else (0, 0)
    if low < 0 or (size is not None and high >= size):
        raise UsageError(f"{name} must lie in 0 .. {'V-1' if size is None else size - 1}, not {low if low < 0 else high}.")
    return tokens.to(torch.int64)


def _shape(value: object) -> str:
    return f"{tuple(value.shape)} of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__


def _stage(name: str, value: Any, label: str = "") -> Stage:
    """A stage from its first knob's value; raises `UsageError`."""
    if name not in names("stages"):
        raise unknown("setting", name, names("stages"))
    kind = find("stages", name)
    stage: Stage = build(name, kind, {knobs(kind)[0].name: value}, label)
    return stage


def _filtered(logits: Tensor, name: str, value: Any) -> Tensor:
    candidates = _candidates(logits)
    kept = _stage(name, value)(candidates, ()).spread(candidates.width) > -torch.inf
    return logits.masked_fill(~kept.to(logits.device), -torch.inf)


def _pipeline(settings: dict[str, Any], do_sample: bool) -> Pipeline:
    """The stages that are set (not None), in their standard order."""
    if not do_sample:
        settings = {**settings, "temperature": 0}
    stages = [(name, _stage(name, value)) for name, value in settings.items() if value is not None]
    return Pipeline(sorted(stages, key=lambda named: named[1].place))


@torch.no_grad()
def _generated(
    model: Any, prompt: Tensor, max_new_tokens: int, pipeline: Pipeline, memories: Sequence[Memory], eos_token_id: int | None
) -> Tensor:
    count = _whole(max_new_tokens, "max_new_tokens")
    end = None if eos_token_id is None else _whole(eos_token_id, "eos_token_id")
    reader = _Reader(model, prompt, count)
    beside = _Reader(model, prompt[:, -1:], count) if pipeline.needs else None  # nobody names a negative prompt here
    columns, stopped = [prompt], [False] * len(memories)
    for step in range(count):
        candidates = _candidates(reader(columns[-1]), f"logits of model at step {step}")
        if step == 0:
            pipeline = pipeline.bind(_vocabulary(candidates.width, end))
        if beside is not None:
            unguided = _candidates(beside(columns[-1][:, -1:]), f"logits of model at step {step}").logits
            for memory, row in zip(memories, unguided, strict=True):
                memory.hand((), row)
        final = pipeline(candidates, memories)
        drawn = draw(final, [memory.uniform() for memory in memories], step)
        pipeline.drawn(final, drawn, memories)
        ids = [end if gone and end is not None else token for gone, token in zip(stopped, drawn, strict=True)]
        for memory, token in zip(memories, ids, strict=True):
            memory.append(token)
        columns.append(torch.tensor(ids, device=prompt.device)[:, None])
        stopped = [token == end for token in ids]
        if all(stopped):
            break
    return torch.cat(columns, dim=1)


def _vocabulary(size: int, end: int | None) -> Vocabulary:
    """What stages may know of a vocabulary that has no texts."""

    def encode(text: str) -> list[int]:
        raise UsageError(f"a token must be named by its id here, not by its text {text!r}.")

    return Vocabulary(size, (), frozenset() if end is None else frozenset({end}), frozenset(), encode)


class _Reader:
    """Asks a model what comes next: hand it the prompt (B, T), then each new column (B, 1); logits (B, V)."""

    def __init__(self, model: Any, prompt: Tensor, room: int) -> None:
        self._model = model
        self._ids = prompt[:, :0]
        self._cache: KVCache | None = None
        if all(hasattr(model, fact) for fact in ("context", "layers", "kv_heads", "head_dim")):  # one of ours
            length = prompt.shape[1] + max(room - 1, 0)  # the last token is drawn, not read
            if length > model.context:
                raise UsageError(
                    f"prompt_tokens and max_new_tokens together must fit the model's context of {model.context}: "
                    f"{prompt.shape[1]} + {room} do not."
                )
            _tokens(prompt, "prompt_tokens", model.vocab_size)
            if getattr(model, "horizon", None) is None:  # else what is cached may not serve a longer text
                self._cache = KVCache.of(model, prompt.shape[0], length)

    def __call__(self, ids: Tensor) -> Tensor:
        if self._cache is not None:
            return self._model(ids, self._cache, last=True)[:, -1]  # type: ignore[no-any-return]
        self._ids = torch.cat([self._ids, ids], dim=1)
        output = self._model(self._ids)
        logits = getattr(output, "logits", output)
        if not isinstance(logits, Tensor) or logits.dim() != 3 or logits.shape[:2] != self._ids.shape:
            raise UsageError(f"model must answer token ids {_shape(self._ids)} with logits (B, T, V), not {_shape(logits)}.")
        return logits[:, -1]
