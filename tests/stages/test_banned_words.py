"""Banned words: what a stage bans and when it goes back, against a slow reading of the text, and transformers for single tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import NoBadWordsLogitsProcessor

from distributions import hard_distributions
from gencli.candidates import Candidates
from gencli.decoder import Decoder
from gencli.errors import UsageError
from gencli.memory import Memory
from gencli.models.gpt2 import Gpt2Config, random_gpt2
from gencli.pipeline import Pipeline
from gencli.stages import build
from gencli.stages.banned_words import BannedWords
from gencli.strategies.sample import Sample
from gencli.vocabulary import Vocabulary

TEXTS = [b"a", b"b", b"c", b"ab", b"ba", b"bca", b"<end>"]  # the last one is special
ALPHABET = Vocabulary(len(TEXTS), TEXTS, frozenset({6}), frozenset({6}), lambda text: [TEXTS.index(each.encode()) for each in text])


def bound(*words: Any, vocabulary: Vocabulary = ALPHABET) -> BannedWords:
    stage: BannedWords = build("banned_words", BannedWords, {"words": list(words)})
    return stage.bind(vocabulary)


def walked(stage: BannedWords, tokens: list[int]) -> Memory:
    memory = Memory([0])
    for token in tokens:
        stage.drawn(token, 0.0, memory)
        memory.append(token)
    return memory


def test_single_tokens_agree_with_transformers() -> None:
    for number, row in enumerate(hard_distributions()):
        size = row.shape[1]
        ids = sorted({number % size, (number * 7 + 3) % size})
        if bool((row[0].index_fill(0, torch.tensor(ids), -torch.inf) > -torch.inf).any()):  # where none was left, ours leaves all
            expected = NoBadWordsLogitsProcessor([[token] for token in ids], eos_token_id=[size + 1])(torch.zeros((1, 1)).long(), row)
            vocabulary = Vocabulary(size, [b"x"] * size, frozenset(), frozenset(), lambda text: [])
            assert torch.equal(bound(*ids, vocabulary=vocabulary)(Candidates(row), [Memory([0])]).logits, expected)


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (("b",), [0, 2, 6]),  # whatever holds the text
        (("bc",), [0, 1, 2, 3, 4, 6]),
        ((1,), [0, 2, 3, 4, 5, 6]),  # the token alone, not its text
        (([1], 6), [0, 2, 3, 4, 5]),
        (("<end>",), [0, 1, 2, 3, 4, 5, 6]),  # a special token gives no text
        (("zebra",), [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_what_a_token_holds_by_itself_is_banned_everywhere(kept, words: tuple[Any, ...], left: list[int]) -> None:
    assert kept(bound(*words)(Candidates(torch.zeros((1, 7))), [Memory([0])])) == left


def test_a_phrase_goes_back_to_the_token_that_began_it(kept) -> None:
    stage, flat = bound("bc"), Candidates(torch.zeros((1, 7)))
    memory = walked(stage, [2, 3])  # "cab": the last token's b may begin it
    assert (stage.held(memory, memory.step), stage.rewind(memory)) == (1, None)
    stage.drawn(2, 0.0, memory)
    memory.append(2)
    assert stage.rewind(memory) == 'banned_words: "bc" was complete'
    assert (memory.ids, memory.step) == ([0, 2], 1)
    assert kept(stage(flat, [memory])) == [0, 1, 2, 4, 6]  # without "ab", and "bca" which holds it
    assert stage.because(flat, 0, 3) == "a banned phrase began with it here"
    assert stage.because(flat, 0, 5) == "it is or holds a banned word"
    memory.append(0)
    assert kept(stage(flat, [memory])) == [0, 1, 2, 3, 4, 6]  # one place only


def test_bans_of_a_place_add_up_and_those_behind_it_go() -> None:
    stage = bound("ac", "abc", "cc")
    memory = walked(stage, [0, 2])
    assert stage.rewind(memory)
    assert stage._bans(memory) == {0}
    for token in (3, 2):  # "abc"
        stage.drawn(token, 0.0, memory)
        memory.append(token)
    assert stage.rewind(memory)
    assert (memory.step, stage._bans(memory)) == (0, {0, 3})


def test_where_nothing_else_is_left_the_next_place_is_tried_and_then_it_stands() -> None:
    stage, memory = bound("ab"), Memory([0])
    places = []
    for _ in range(3):
        while memory.step < 2:
            token = memory.step  # only "a", then only "b"
            stage.drawn(token, 0.0, memory)
            memory.append(token)
        places.append(memory.step if stage.rewind(memory) is None else (memory.step, stage._bans(memory)))
    assert places == [(0, {0}), (1, {1}), 2]
    assert stage.held(memory, memory.step) == 2


@given(st.lists(st.sampled_from(["ab", "bc", "cab", "aa", "bcb", "caa"]), min_size=1, max_size=3), st.lists(st.integers(0, 6), max_size=9))
def test_the_way_back_and_what_is_held_by_a_slow_reading(words: list[str], tokens: list[int]) -> None:
    stage = bound(*words)
    memory = Memory([0])
    phrases = [word.encode() for word in words]
    for token in tokens:
        if token in stage.forbidden:
            continue
        stage.drawn(token, 0.0, memory)
        memory.append(token)
        output = memory.ids[1:]
        data = [b"" if each == 6 else TEXTS[each] for each in output]
        owner = [step for step, each in enumerate(data) for _ in each]  # of every byte
        text = b"".join(data)
        ends = [(at + len(p), len(p)) for p in phrases for at in range(len(text)) if text.startswith(p, at)]
        if ends:
            end, length = min(ends)
            assert stage.rewind(memory) is not None
            assert memory.step == owner[end - length]
            assert stage._bans(memory) >= {output[memory.step]}
            never = walked(stage, memory.ids[1:])  # one that went there and came back is one that never did, but for the ban
            assert stage._state(memory).tail == stage._state(never).tail
            return
        assert stage.rewind(memory) is None
        begun = [at for at in range(len(text)) if any(p.startswith(text[at:]) for p in phrases)]
        assert stage.held(memory, memory.step) == (owner[begun[0]] if begun else memory.step)


PHRASES = st.lists(st.sampled_from(["ab", "bc", "cab", "aa", "bcb", "caa", "acb", "cc"]), min_size=1, max_size=3)


@given(st.lists(PHRASES, min_size=1, max_size=2), st.lists(st.integers(0, 6), max_size=40))
def test_what_is_no_longer_held_is_never_taken_back(lists: list[list[str]], draws: list[int]) -> None:
    stages = [build("banned_words", BannedWords, {"words": words}) for words in lists]
    pipeline = Pipeline([("banned_words", stage) for stage in stages]).bind(ALPHABET)
    memory, certain = Memory([0]), 0
    for wish in draws:
        final = pipeline(Candidates(torch.zeros((1, 7))), [memory])
        left = [token for token, logit in zip(final.token_ids()[0].tolist(), final.logits[0].tolist(), strict=True) if logit > -torch.inf]
        token = left[wish % len(left)]
        pipeline.drawn(final, [token], [memory])
        memory.append(token)
        pipeline.rewind(memory)
        assert memory.step >= certain
        certain = pipeline.held(memory)


def test_what_was_made_sure_by_a_token_that_may_go_is_held_with_it() -> None:
    pipeline = Pipeline([("banned_words", build("banned_words", BannedWords, {"words": ["ab", "cc"]}))]).bind(ALPHABET)
    (stage,) = pipeline.stages
    memory = walked(stage, [0, 2])  # "ac": no "ab" any more, unless "cc" takes the c back and a b comes
    assert stage.held(memory, 2) == 1
    assert pipeline.held(memory) == 0


def test_what_is_no_word_of_the_vocabulary_is_a_sentence() -> None:
    with pytest.raises(UsageError, match=r"token id 7 is outside the vocabulary \(0 to 6\)"):
        bound(7)
    with pytest.raises(UsageError, match=r"the tokens \[0, 6\] spell no text; ban special tokens one by one"):
        bound([0, 6])
    bare = Vocabulary(7, (), frozenset(), frozenset(), lambda text: [])
    with pytest.raises(UsageError, match="this vocabulary has no texts; name each token by its id"):
        bound("ab", vocabulary=bare)
    assert bound(3, vocabulary=bare).forbidden == (3,)


def spell(ids: list[int]) -> bytes:
    return b"".join(TEXTS[token] for token in ids)


def sampled(phrases: tuple[str, ...], steps: int, rows: int, batch: bool = True) -> list[tuple[int, ...]]:
    """What so many samples write in `steps` tokens, with a small untrained model over six tokens."""
    model = random_gpt2(Gpt2Config(vocab_size=6, context=16, width=8, layers=1, heads=1, mlp_width=8), torch.Generator().manual_seed(1))
    vocabulary = Vocabulary(6, TEXTS[:6], frozenset(), frozenset(), ALPHABET.encode)
    written = []
    for group in [range(rows)] if batch else [range(row, row + 1) for row in range(rows)]:
        memories = [Memory([0], seed=4, sample=row) for row in group]
        decoder = Decoder(model)
        logits = decoder.prefill([0], len(memories))
        assert logits is not None
        strategy = Sample(decoder, Pipeline([("banned_words", bound(*phrases, vocabulary=vocabulary))]), memories, logits)
        while memories:
            strategy.step()
            going = [row for row, memory in enumerate(memories) if memory.step < steps]
            written += [tuple(memory.ids[1:]) for memory in memories if memory.step >= steps]
            memories = [memories[row] for row in going]
            if memories:
                strategy.keep(going)
    return written


@pytest.mark.parametrize("phrases", [("bc",), ("aa", "cb"), ("bab",)])
def test_the_support_is_that_of_rejection(phrases: tuple[str, ...]) -> None:
    """Everything that can be written without the phrases can still be written, and nothing else.

    1500 samples over at most 216 sequences, of which none has less than 1 in 600: the noise is fixed, so no false alarm by chance.
    """
    written = set(sampled(phrases, 3, 1500))
    every = {(a, b, c) for a in range(6) for b in range(6) for c in range(6)}
    clean = {ids for ids in every if not any(phrase.encode() in spell(list(ids)) for phrase in phrases)}
    assert written <= clean
    assert len(clean - written) <= 2


def test_a_sample_alone_is_that_sample_in_the_batch() -> None:
    assert sorted(sampled(("bc", "ab"), 8, 40)) == sorted(sampled(("bc", "ab"), 8, 40, batch=False))
