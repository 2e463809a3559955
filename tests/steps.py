"""Events made by hand: a run over a text, with candidates that look like a small model's."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gencli.events import VERSION, Candidate, Event, Finished, StageReport, Started, Token

OTHERS = (" a", " the", " her", "\n", " dragon", " é", "日", ".", "\x1b[2J", '"', "\ufffd", "👩‍👧", "\u0301", "<|endoftext|>")
STARTED = Started(
    version=VERSION,
    checkpoint={"name": "toy", "path": "/nowhere/toy", "bytes": 1},
    preset={"pipeline": []},
    prompt="Once",
    prompt_ids=(1, 2, 3),
    seed=7,
    samples=1,
    device="cpu",
    precision="float32",
    gencli="0",
    torch="0",
)
FINISHED = Finished(0, "", "length", None, 3, 10, 0.5, 31.25)


def step(text: str, at: int = 0, drawn: int = 0, kept: int = 6, listed: int = 10, sample: int = 0, vocabulary: int = 200) -> Token:
    """A token with `listed` candidates, the drawn one at place `drawn`, those from place `kept` on removed by top_k."""
    noise = random.Random(at)
    weights = sorted((math.exp(noise.gauss(0, 2)) for _ in range(vocabulary)), reverse=True)
    raw = [weight / sum(weights) for weight in weights]
    mass = sum(raw[:kept])
    texts = [text if place == drawn else OTHERS[(place + at) % len(OTHERS)] for place in range(max(listed, drawn + 1))]
    candidates = []
    for place in (*range(listed), *([drawn] if drawn >= listed else [])):
        cut = place >= kept
        prob = 0.0 if cut else raw[place] / mass
        candidates.append(Candidate(place, texts[place], raw[place], prob, "top_k" if cut else None, 1 if cut else None))
    candidates = [replace(each, after=(each.raw_prob, each.prob), because="rank 9 > 6" if each.removed_by else None) for each in candidates]
    entropy = -sum(p * math.log2(p) for p in raw)
    final = -sum(p / mass * math.log2(p / mass) for p in raw[:kept])
    stages = (StageReport("temperature", 0, vocabulary, 0.0, entropy, 0.0), StageReport("top_k", 1, kept, 1 - mass, final, 0.5))
    return Token(sample, at, drawn, text, text.encode(errors="replace"), -1.0, -1.5, drawn + 1, final, entropy, tuple(candidates), stages)


def story(pieces: Sequence[str], samples: int = 1, reason: str = "length") -> Iterator[Event]:
    """A whole run: every sample draws the same pieces."""
    yield replace(STARTED, samples=samples)
    for at, piece in enumerate(pieces):
        for sample in range(samples):
            yield step(piece, at, drawn=at % 4, sample=sample)
    for sample in range(samples):
        yield replace(FINISHED, sample=sample, new_tokens=len(pieces), reason=reason)


def pieces(text: str, seed: int = 0, longest: int = 6) -> list[str]:
    """The text in pieces of one to `longest` characters, as tokens cut it."""
    noise, cut = random.Random(seed), []
    while text:
        count = noise.randint(1, longest)
        cut.append(text[:count])
        text = text[count:]
    return cut


def numbers(line: str) -> list[float]:
    """The per cents of a line; "<0.01 %" counts as nothing, as it does in the sum."""
    return [0.0 if found.startswith("<") else float(found) for found in re.findall(r"(<?[\d.]+) %", line)]
