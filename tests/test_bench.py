"""What is measured: real runs of small sizes. Which figures there are and how they hang together, never how fast."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gencli import machine
from gencli.bench import doubling, first_token, measure, plan, weights_read
from gencli.conversion import convert
from gencli.errors import UsageError
from gencli.formats import open_checkpoint
from gencli.loading import load
from weights import random_folder

FABLE_MATRICES = 5_573_888 - 13 * 256  # 6 layers with two norms, and the last one, of 256 numbers


@pytest.fixture(scope="module")
def checkpoint(fable):
    return open_checkpoint(fable)


@pytest.fixture
def report_of(checkpoint, monkeypatch):
    monkeypatch.setattr(machine, "BANDWIDTH_SECONDS", 0.02)

    def go(tell=lambda text: None, **asked):
        return measure(checkpoint, lambda: load(threads=1), plan(checkpoint, **asked), time.monotonic() - 1, tell)

    return go


def test_without_a_wish_the_lengths_are_those_that_fit(checkpoint):
    asked = plan(checkpoint)
    assert (asked.prompt_lengths, asked.batches, asked.new_tokens, asked.repeat) == ((32, 128), (1, 4, 8, 16), 32, 3)
    assert asked.trade == asked.growth == ()
    assert plan(checkpoint, new_tokens=400).prompt_lengths == (32,)
    assert plan(checkpoint, new_tokens=506).prompt_lengths == (6,)
    both = plan(checkpoint, trade=True, growth=True)
    assert both.trade == both.growth == (16, 32, 64, 128, 256, 480)
    assert plan(checkpoint, [5, 9], trade=True).trade == (5, 9)


def test_what_the_context_does_not_hold_is_refused(checkpoint):
    assert plan(checkpoint, [480]).prompt_lengths == (480,)
    with pytest.raises(UsageError, match="a prompt of 481 tokens and 32 new ones do not fit: the context of fable-6m holds 512 positions"):
        plan(checkpoint, [16, 481])
    with pytest.raises(UsageError, match="512 new tokens leave no room for a prompt"):
        plan(checkpoint, new_tokens=512)


def test_a_tokenizer_within_the_weights_file_is_measured_too(fable, tmp_path):
    file = tmp_path / "x.gguf"
    convert(open_checkpoint(random_folder(tmp_path / "folder", fable)), file, "gguf", "float32")
    session, start, _ = first_token(open_checkpoint(file), lambda: load(str(file), threads=1), 4, time.monotonic())
    assert session.name == "x"
    assert start.tokenizer > 0


@given(st.integers(1, 100_000))
def test_lengths_double_and_end_where_they_should(most):
    lengths = doubling(most)
    assert lengths[-1] == most
    assert sorted(set(lengths)) == list(lengths)
    assert all(later <= 8 * earlier / 3 for earlier, later in pairwise(lengths))


def test_the_speeds_are_those_of_every_length_and_batch(report_of):
    told = []
    report = report_of(told.append, prompt_lengths=[3, 5], batches=[1, 2], new_tokens=4, repeat=1)
    assert [(each.prompt_tokens, each.rows) for each in report.decode] == [(3, 1), (3, 2), (5, 1), (5, 2)]
    assert [each.prompt_tokens for each in report.prefill] == [3, 5]
    assert report.no_cache == report.context == ()
    assert (report.device, report.precision, report.threads, report.repeat) == ("cpu", "float32", 1, 1)
    for each in report.prefill:
        assert each.tokens_per_second == pytest.approx(each.prompt_tokens / each.seconds)
    for each in report.decode:
        assert each.tokens_per_second == pytest.approx(each.rows / each.seconds_per_step)
        assert each.weight_bytes_per_step == 4 * FABLE_MATRICES
        seen = sum(each.prompt_tokens + step for step in range(1, 5)) / 4  # by each of the four steps, its own token too
        assert each.cache_bytes_per_step == each.rows * 12_288 * seen
        read = each.weight_bytes_per_step + each.cache_bytes_per_step
        assert each.share_of_limit == pytest.approx(read / report.bandwidth.bytes_per_second / each.seconds_per_step)
    assert report.memory.weight_bytes == 4 * FABLE_MATRICES
    assert report.memory.largest_cache_bytes >= 2 * 12_288 * 9
    assert "steps of 2 rows after 5 tokens" in told


def test_the_parts_of_the_start_add_up(report_of):
    start = report_of(prompt_lengths=[2], batches=[1], new_tokens=1, repeat=1).start
    parts = (start.process, start.torch, start.tokenizer, start.model, start.prefill, start.choice)
    assert start.total == pytest.approx(sum(parts))
    assert start.process >= 1  # the process is said to have begun a second ago
    assert all(part >= 0 for part in (*parts, start.step))
    assert start.prompt_tokens == 2


def test_the_trade_and_the_growth_take_the_place_of_the_speeds(report_of):
    report = report_of(prompt_lengths=[2, 6], new_tokens=3, repeat=1, trade=True, growth=True)
    assert report.prefill == report.decode == ()
    assert [each.prompt_tokens for each in report.no_cache] == [2, 6]
    for each in report.no_cache:
        assert each.seconds_saved == pytest.approx(each.seconds_without_cache - each.seconds_with_cache)
        assert each.cache_bytes >= 12_288 * (each.prompt_tokens + 3)
    assert [(each.prompt_tokens, each.rows) for each in report.context] == [(2, 1), (6, 1)]
    assert report.context[0].cache_bytes_per_step < report.context[1].cache_bytes_per_step


@pytest.mark.parametrize("kind", ["tied", "untied", "gpt2"])
def test_the_weights_a_step_reads_are_those_of_its_products(tmp_path, kind):
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    if kind == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=4, n_positions=32, bos_token_id=0, eos_token_id=0))
        products = 50 * 16 + 2 * (16 * 48 + 16 * 16 + 16 * 64 + 64 * 16)
    else:
        sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
        model = LlamaForCausalLM(LlamaConfig(vocab_size=50, tie_word_embeddings=kind == "tied", **sizes))
        products = 50 * 16 + 2 * (16 * 16 + 2 * 16 * 8 + 16 * 16 + 3 * 16 * 24)
    model.save_pretrained(tmp_path)
    assert weights_read(open_checkpoint(tmp_path)) == products
