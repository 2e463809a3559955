"""A recorded run, run again, is the same; and what is not the same is noticed, down to one flipped bit."""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from gencli.errors import RunError
from gencli.events import Event, Hashed, Logits
from gencli.fingerprint import Fingerprint, checkpoint_files
from gencli.generation import Options, run
from gencli.loading import Session, load
from gencli.observation import Detail
from gencli.preset import Preset
from gencli.registry import names
from gencli.trace import Trace
from gencli.verification import _near, verify_trace
from recorded import lively, preset_of, recorded


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def session() -> Session:
    return load("fable-6m", threads=1)


@pytest.fixture(scope="module")
def hashed(fable) -> Hashed:
    return Fingerprint(checkpoint_files(fable)).wait()


@pytest.fixture(scope="module")
def events(session) -> list[Event]:
    return recorded(session, Preset.load("creative"), tokens=12)


def test_who_waits_hears_how_far_it_is(session, events):
    heard: list[tuple[int, int]] = []
    verify_trace(session, events, told=lambda done, most: heard.append((done, most)))
    assert heard == [(done, 12) for done in range(1, 13)]


def test_the_same_run_is_the_same(session, events, hashed):
    found = verify_trace(session, Trace((*events, hashed)))
    assert found.difference is None
    assert (found.tokens, found.same, found.parts_at) == (12, 12, None)
    assert found.largest == 0
    assert found.sha256 == found.recorded_sha256 == hashed.sha256


@pytest.mark.parametrize("name", sorted(names("stages")))
def test_every_stage_is_verified(session, name):
    found = verify_trace(session, recorded(session, preset_of((name, lively(name)[0])), tokens=4))
    assert found.difference is None
    assert (found.tokens, found.same, found.largest) == (4, 4, 0)


def test_samples_that_end_at_different_steps(session):
    preset = Preset.loads("pipeline: [{temperature: 0.8}, {top_k: 40}]\nstop: [' a', ' little', ',']\nmax_new_tokens: 8")
    detail = Detail(logits=True)
    events = list(run(session, "Once upon a time", preset, Options(seed=3, samples=4, first_sample=6, detail=detail)))
    lengths = {event.new_tokens for event in events if event.event == "finish"}
    found = verify_trace(session, events)
    assert len(lengths) > 1
    assert found.difference is None
    assert found.same == found.tokens == sum(event.event == "token" for event in events)
    assert found.largest < 1e-5


def test_a_run_longer_than_the_context_and_one_that_was_cut_off(session):
    limited = Preset.loads("pipeline: [{temperature: 0.7}]\nmax_new_tokens: 12")
    options = Options(seed=1, ignore_end=True, overflow="slide", detail=Detail(logits=True))
    long = list(run(session, [300] * (session.context - 5), limited, options))
    assert verify_trace(session, long).same == 12
    assert verify_trace(session, long[:9]).same == 8


def flipped(fable: Path, folder: Path, bit: int) -> Path:
    """A copy of the checkpoint with one bit of one weight in the middle of its last norm flipped."""
    shutil.copytree(fable, folder)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    (size,) = struct.unpack("<Q", data[:8])
    entries = json.loads(data[8 : 8 + size])
    begin, end = entries["model.norm.weight"]["data_offsets"]
    at = 8 + size + (begin + end) // 4 * 2
    data[at + bit // 8] ^= 1 << bit % 8
    weights.write_bytes(data)
    return folder


@pytest.mark.parametrize("bit", [0, 7, 13])
def test_one_flipped_bit_is_noticed_by_the_hash(fable, tmp_path, events, hashed, bit):
    session = load(str(flipped(fable, tmp_path / "flipped", bit)), threads=1)
    found = verify_trace(session, [*events, hashed])
    assert "sha256" in found.difference
    assert found.sha256 != hashed.sha256


def test_one_flipped_bit_moves_the_probabilities(fable, tmp_path, events):
    session = load(str(flipped(fable, tmp_path / "flipped", 13)), threads=1)
    found = verify_trace(session, events)
    assert found.recorded_sha256 is None
    assert found.difference is not None
    assert found.largest > found.tolerance or found.same < 12
    slightly = load(str(flipped(fable, tmp_path / "slightly", 0)), threads=1)
    assert verify_trace(slightly, events, tolerance=0).difference is not None
    assert verify_trace(slightly, events, tolerance=0.1).difference is None


def test_every_byte_is_hashed_whatever_is_remembered(fable, tmp_path, events):
    """Same size and same time, so that a remembered sum would be believed."""
    folder = flipped(fable, tmp_path / "copy", 0)
    hashed = Fingerprint(checkpoint_files(folder)).wait()
    weights = folder / "model.safetensors"
    status = weights.stat()
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert Fingerprint(checkpoint_files(folder)).wait() == hashed
    found = verify_trace(load(str(folder), threads=1), [*events, hashed])
    assert found.sha256 != hashed.sha256


def changed(events, at: int, **changes):
    places = [place for place, event in enumerate(events) if event.event == "token"]
    return [replace(event, **changes) if place == places[at] else event for place, event in enumerate(events)]


def test_another_token_is_told_with_its_step(session, events):
    other = 5 if events[4].id != 5 else 6
    found = verify_trace(session, changed(events, 3, id=other))
    assert (found.parts_at.step, found.parts_at.recorded_id, found.parts_at.id) == (3, other, events[4].id)
    assert f"draws token {events[4].id} at step 3, and the trace has {other}" in found.difference
    assert (found.tokens, found.same) == (12, 3)


def test_another_probability_is_told(session, events):
    likeliest = max(range(12), key=lambda step: events[step + 1].logprob)  # a hundredth of its probability is the most
    other = changed(events, likeliest, logprob=events[likeliest + 1].logprob - 0.01)
    found = verify_trace(session, other)
    assert 0.0001 < found.largest < 0.01
    assert "a probability differs by" in found.difference
    assert verify_trace(session, other, tolerance=0.1).difference is None


def test_a_trace_without_logits_is_compared_by_what_it_holds(session):
    events = list(run(session, "Once", Preset.loads("max_new_tokens: 5"), Options(seed=1, detail=Detail())))
    assert verify_trace(session, events).difference is None


def test_a_number_on_the_border_may_draw_either(events):
    token = events[1]
    border = 0.0
    record = token.logits
    ids = memoryview(record.ids).cast("i")
    finals = memoryview(record.final).cast("f")
    total = math.fsum(math.exp(each) for each in finals if each > -math.inf)
    for token_id, logit in zip(ids, finals, strict=True):
        if token_id == token.id:
            break
        border += math.exp(logit) / total
    assert _near(token, token.id, border - 5e-5, 1e-4)
    assert not _near(token, token.id, border - 2e-4, 1e-4)
    gone = next(token_id for token_id, logit in zip(ids, finals, strict=True) if logit == -math.inf)
    assert not _near(token, gone, border, 1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt_ids": ()}, "prompt_ids"),
        ({"prompt_ids": (10**6,)}, "cannot be run again"),
        ({"seed": -5}, "seed"),
        ({"preset": {"pipeline": [{"stage": "nonsense"}]}}, "preset does not hold"),
    ],
    ids=str,
)
def test_a_trace_that_cannot_be_run_again(session, events, change, said):
    with pytest.raises(RunError, match=said):
        verify_trace(session, [replace(events[0], **change), *events[1:]])


def test_tokens_beyond_the_end_and_other_vocabularies(session, events):
    more = {**events[0].preset, "settings": {"max_new_tokens": {"value": 5, "origin": "flag"}}}
    with pytest.raises(RunError, match="the run ends after 5 tokens now, and the trace has 12"):
        verify_trace(session, [replace(events[0], preset=more), *events[1:]])
    small = replace(events[1], logits=Logits(2, b"", struct.pack("<ff", 1, 1), b"", 1.6931471, None))
    with pytest.raises(RunError, match="vocabulary has 2 tokens"):
        verify_trace(session, [events[0], small])
    with pytest.raises(RunError, match="cannot be used"):
        verify_trace(session, changed(events, 0, logits=replace(events[1].logits, raw=b"")))
