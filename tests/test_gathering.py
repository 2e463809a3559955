"""A run's events put together again are its samples."""

from __future__ import annotations

from dataclasses import replace

from gencli.events import Finished
from gencli.gathering import gathered
from steps import STARTED, step, story


def test_samples_are_their_pieces_ids_and_endings():
    heard = []
    started, samples = gathered(story(["a", "", "b"], samples=2), heard.append)
    assert started == replace(STARTED, samples=2)
    assert [each.sample for each in samples] == [0, 1]
    assert [(each.text, each.ids, each.reason, each.stop) for each in samples] == [("ab", [0, 1, 2], "length", None)] * 2
    assert len(samples[0].entropies) == 3
    assert heard == list(story(["a", "", "b"], samples=2))


def test_what_was_held_back_comes_last_and_numbers_begin_where_they_do():
    first = replace(STARTED, samples=2, first_sample=5)
    bare = replace(step("x", sample=6), entropy=None)
    end = Finished(6, "held", "gate", "min_prob: 0.1 < 0.2", 3, 1, None, None)
    _, samples = gathered([first, bare, end])
    assert [(each.sample, each.text, each.entropies, each.reason) for each in samples] == [
        (5, "", [], "interrupted"),
        (6, "xheld", [], "gate"),
    ]
    assert samples[1].stop == "min_prob: 0.1 < 0.2"
