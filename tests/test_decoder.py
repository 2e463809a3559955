"""Steps, rows, rewinds and the sliding window: the cache never decides what the model sees."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gencli import compiled
from gencli import decoder as module
from gencli.decoder import Decoder
from gencli.errors import UsageError
from gencli.models import Model, RandomTensors, Weights
from gencli.models.gpt2 import Gpt2, Gpt2Config
from gencli.models.llama import Llama
from gencli.precisions.float32 import Float32

VOCABULARY, CONTEXT = 40, 12


def gpt2(context: int = CONTEXT, fast: bool = False) -> Model:
    layout = (config := Gpt2Config(VOCABULARY, context, width=16, layers=2, heads=2, mlp_width=32)).layout()
    return Gpt2(config, Weights(RandomTensors(layout, torch.Generator().manual_seed(0), spread=0.4), layout), Float32(fast=fast))


def llama(context: int = CONTEXT, fast: bool = False, scaling: dict[str, object] | None = None) -> Model:
    stated = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = Llama.read({**stated, "num_key_value_heads": 2, "max_position_embeddings": context, "rope_scaling": scaling})
    layout = config.layout()
    return Llama(config, Weights(RandomTensors(layout, torch.Generator().manual_seed(0), spread=0.2), layout), Float32(fast=fast))


def turned(kind: str, context: int = CONTEXT, fast: bool = False) -> Model:
    """A model whose rotary angles change with the length: from 5 tokens on, or with every one."""
    lists = {"short_factor": [1.0, 1.2, 1.5, 2.0], "long_factor": [2.0, 3.0, 5.0, 9.0]}
    scaling = lists if kind == "longrope" else {"factor": context / 4}
    return llama(context if kind == "longrope" else 4, fast, {"rope_type": kind, "original_max_position_embeddings": 4, **scaling})


MODELS = {"gpt2": gpt2(), "llama": llama(), "longrope": turned("longrope"), "dynamic": turned("dynamic")}
if compiled.available():
    MODELS["longrope compiled"] = turned("longrope", fast=True)
    MODELS |= {"gpt2 compiled": gpt2(fast=True), "llama compiled": llama(fast=True)}
both = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def prefilled(decoder: Decoder, ids: list[int], rows: int = 1) -> torch.Tensor:
    logits = decoder.prefill(ids, rows)
    assert logits is not None
    return logits


def greedy(model: Model, prompt: list[int], count: int, **settings: object) -> list[int]:
    decoder = Decoder(model, **settings)  # type: ignore[arg-type]
    logits, ids = prefilled(decoder, prompt), []
    for _ in range(count):
        ids.append(int(logits.argmax()))
        logits = decoder.step(ids[-1:])
    return ids


@both
def test_steps_give_the_logits_of_the_whole_sequence(model: Model) -> None:
    ids = [3, 1, 4, 1, 5, 9, 2, 6]
    whole = [model(torch.tensor([ids[:length]]))[0, -1] for length in range(1, 9)]
    decoder = Decoder(model)
    torch.testing.assert_close(prefilled(decoder, ids[:3])[0], whole[2])
    for at in range(3, 8):
        torch.testing.assert_close(decoder.step([ids[at]])[0], whole[at])
        assert decoder.length == at + 1


@both
def test_a_prompt_in_chunks_is_the_prompt_at_once(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = list(range(11))
    whole = prefilled(Decoder(model), ids)
    monkeypatch.setattr(module, "CHUNK", 3)
    torch.testing.assert_close(prefilled(Decoder(model), ids), whole)


@both
@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=30), st.integers(1, 30))
def test_without_a_cache_the_tokens_are_the_same_also_when_sliding(model: Model, prompt: list[int], count: int) -> None:
    assert greedy(model, prompt, count, overflow="slide") == greedy(model, prompt, count, overflow="slide", cache=False)


@pytest.mark.parametrize("context", [1, 2, 3, 7, 12])
def test_the_window_depends_on_the_length_alone(context: int) -> None:
    model = llama(context)
    ids = [i * 7 % VOCABULARY for i in range(40)]
    decoder = Decoder(model, overflow="slide")
    logits = prefilled(decoder, ids[:1])
    window = ids[:1]
    for length in range(1, 40):
        torch.testing.assert_close(prefilled(Decoder(model, overflow="slide"), ids[:length]), logits)
        torch.testing.assert_close(model(torch.tensor([window]))[:, -1], logits)
        logits = decoder.step([ids[length]])
        window = [*window, ids[length]]
        if len(window) > context:
            window = window[-max(1, context // 2) :]


@both
def test_rows_go_their_own_ways_and_are_kept(model: Model) -> None:
    decoder = Decoder(model)
    logits = prefilled(decoder, [1, 2, 3], rows=4)
    assert logits.shape == (4, VOCABULARY)
    assert bool((logits == logits[0]).all())
    decoder.step([10, 11, 12, 13])
    decoder.keep([3, 1])
    together = decoder.step([20, 21])
    for row, ids in enumerate(([1, 2, 3, 13, 20], [1, 2, 3, 11, 21])):
        torch.testing.assert_close(together[row], prefilled(Decoder(model), ids)[0])
    assert (decoder.rows, decoder.length) == (2, 5)


@both
@pytest.mark.parametrize("cache", [True, False])
@settings(deadline=None, max_examples=10)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 12)), min_size=1, max_size=4))
def test_a_rewound_decoder_is_one_that_never_went_further(model: Model, cache: bool, moves: list[tuple[int, int]]) -> None:
    decoder, ids = Decoder(model, overflow="slide", cache=cache), [5, 6, 7]
    prefilled(decoder, ids)
    for back, count in moves:
        decoder.rewind(min(back, decoder.length))
        ids = ids[: decoder.length]
        for step in range(count):
            ids.append((back * 5 + step) % VOCABULARY)
            logits = decoder.step(ids[-1:])
        torch.testing.assert_close(logits, prefilled(Decoder(model, overflow="slide"), ids))


@both
@pytest.mark.parametrize("cache", [True, False])
@settings(deadline=None, max_examples=10)
@given(
    prompts=st.lists(st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=20), min_size=2, max_size=4),
    moves=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30), st.integers(1, 6)), max_size=3),
)
def test_rows_of_different_length_are_each_as_if_alone(
    model: Model, cache: bool, prompts: list[list[int]], moves: list[tuple[int, int, int]]
) -> None:
    decoder = Decoder(model, overflow="slide", cache=cache)
    logits = [prefilled(decoder, prompts[0]), *map(decoder.join, prompts[1:])]
    rows = [list(prompt) for prompt in prompts]
    for row, ids in enumerate(rows):
        torch.testing.assert_close(logits[row][:1], prefilled(Decoder(model, overflow="slide"), ids))
    for row, back, count in moves:
        if row < len(rows) and len(rows) > 2 and back % 2:
            rows.pop(row)
            decoder.keep([each for each in range(decoder.rows) if each != row])
        row %= len(rows)
        length = min(back, len(rows[row]))
        decoder.rewind(length, row)
        del rows[row][length:]
        for step in range(count):
            tokens = [(7 * step + 3 * each + back) % VOCABULARY for each in range(len(rows))]
            together = decoder.step(tokens)
            for ids, token in zip(rows, tokens, strict=True):
                ids.append(token)
        for each, ids in enumerate(rows):
            torch.testing.assert_close(together[each], prefilled(Decoder(model, overflow="slide"), ids)[0], atol=5e-5, rtol=1e-4)
        assert decoder.length == max(map(len, rows))


def test_memory_follows_the_room_and_the_rows() -> None:
    model = MODELS["gpt2"]
    decoder = Decoder(model, room=6)
    assert decoder.nbytes == 0
    prefilled(decoder, [1, 2])
    assert decoder.nbytes == 2 * 2 * 2 * 6 * 8 * 4
    decoder.fork(3)
    assert decoder.nbytes == 3 * 2 * 2 * 2 * 6 * 8 * 4
    decoder.keep([2])
    assert decoder.nbytes == 2 * 2 * 2 * 6 * 8 * 4
    uncached = Decoder(model, cache=False)
    prefilled(uncached, [1, 2])
    assert uncached.nbytes == 0


@both
def test_a_prompt_may_be_interrupted(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 2)
    answers = iter([False, False, True])
    decoder = Decoder(model)
    assert decoder.prefill(list(range(10)), interrupted=lambda: next(answers)) is None
    torch.testing.assert_close(prefilled(decoder, [1, 2]), prefilled(Decoder(model), [1, 2]))


def test_the_end_of_the_context() -> None:
    decoder = Decoder(MODELS["gpt2"])
    prefilled(decoder, list(range(CONTEXT - 1)))
    assert not decoder.full
    decoder.step([1])
    assert decoder.full
    with pytest.raises(UsageError, match="13 tokens do not fit: the context is 12 positions"):
        decoder.step([1])
    assert not Decoder(MODELS["gpt2"], overflow="slide").full


@pytest.mark.parametrize("cache", [True, False])
def test_what_cannot_be_is_refused(cache: bool) -> None:
    model = MODELS["llama"]
    decoder = Decoder(model, cache=cache, room=4)
    with pytest.raises(UsageError, match="no token"):
        decoder.prefill([])
    with pytest.raises(UsageError, match="5 tokens do not fit: the room set aside is 4"):
        decoder.prefill([1] * 5)
    for ids in ([0, VOCABULARY], [-1]):
        with pytest.raises(UsageError, match=r"outside of 0 \.\. 39"):
            decoder.prefill(ids)
    prefilled(decoder, [1, 2], rows=2)
    with pytest.raises(UsageError, match="one token a row: 2, not 1"):
        decoder.step([1])
    with pytest.raises(UsageError, match="cannot be rewound to 3"):
        decoder.rewind(3)
    with pytest.raises(UsageError, match="cannot be kept"):
        decoder.keep([2])
    with pytest.raises(UsageError, match=r"no overflow 'slid'\. Did you mean 'slide'"):
        Decoder(model, overflow="slid")
    with pytest.raises(UsageError, match="room"):
        Decoder(model, room=0)


@both
def test_the_model_itself_refuses_positions_beyond_its_context(model: Model) -> None:
    with pytest.raises(UsageError, match="the context holds 12 positions, and 13"):
        model(torch.zeros(1, 13, dtype=torch.int64))


@both
@pytest.mark.parametrize("chunk", [3, 512])
@settings(deadline=None, max_examples=25)
@given(ids=st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=40), data=st.data())
def test_following_a_text_gives_what_steps_give_also_when_sliding(model: Model, chunk: int, ids: list[int], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(ids) - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        followed = torch.cat(list(Decoder(model, overflow="slide").follow(ids, first)))
    decoder = Decoder(model, overflow="slide")
    steps = [prefilled(decoder, ids[: first + 1]), *(decoder.step([token]) for token in ids[first + 1 :])]
    torch.testing.assert_close(followed, torch.cat(steps))


def test_following_leaves_the_rows_alone_and_does_not_slide_unasked() -> None:
    decoder = Decoder(MODELS["llama"])
    prefilled(decoder, [1, 2, 3], rows=2)
    list(decoder.follow([7, 8, 9]))
    torch.testing.assert_close(decoder.step([4, 4])[1], prefilled(Decoder(MODELS["llama"]), [1, 2, 3, 4])[0])
    with pytest.raises(UsageError, match="13 tokens do not fit"):
        list(decoder.follow([1] * 13))


def test_only_a_length_that_was_asked_for_takes_large_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr("gencli.cache.in_large_pages", lambda place, size: asked.append(size))
    decoder = Decoder(MODELS["gpt2"])
    prefilled(decoder, [1, 2], rows=2)
    assert not asked
    decoder = Decoder(MODELS["gpt2"], room=6)
    prefilled(decoder, [1, 2], rows=2)
    assert len(asked) == 4  # both layers, for the prompt's row and for the two that go on
