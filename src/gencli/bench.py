"""What `gencli bench` measures: seconds, bytes and speeds of a checkpoint on this machine, as plain values. Knows no terminal.

The model runs as in `generate`, through the same decoder, greedily and without a pipeline. Figures are
medians over repeated runs after one that warms up; the start is this very process, measured once.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from gencli.errors import UsageError
from gencli.formats import Checkpoint
from gencli.machine import peak_resident, read_bandwidth, resident
from gencli.measurement import Decode, Memory, Prefill, Report, Start, Trade
from gencli.models import family
from gencli.registry import find

if TYPE_CHECKING:
    from torch import Tensor

    from gencli.decoder import Decoder
    from gencli.loading import Session

PROMPT_LENGTHS, BATCHES, NEW_TOKENS, REPEAT = (32, 128), (1, 4, 8, 16), 32, 3
SHORTEST = 16  # tokens: where the doubling lengths of a trade or a growth begin
LONGEST_RECOMPUTED = 512  # tokens: a step without the cache costs a prefill of that many

Tell = Callable[[str], object]


@dataclass(frozen=True)
class Plan:
    """What to measure: lengths in tokens, `batches` in rows; `trade` is cache against none, `growth` the time over positions.

    Where either of the two is asked for it takes the place of the speeds.
    """

    prompt_lengths: tuple[int, ...]
    batches: tuple[int, ...] = BATCHES
    new_tokens: int = NEW_TOKENS
    repeat: int = REPEAT
    trade: tuple[int, ...] = ()
    growth: tuple[int, ...] = ()


def plan(
    checkpoint: Checkpoint,
    prompt_lengths: Sequence[int] | None = None,
    batches: Sequence[int] = BATCHES,
    new_tokens: int | None = None,
    repeat: int = REPEAT,
    *,
    trade: bool = False,
    growth: bool = False,
) -> Plan:
    """What was asked for, and lengths that fit the context where nothing was. Raises `UsageError` for what does not fit."""
    context = family(checkpoint.config).describe(checkpoint.config).context
    new = max(1, min(NEW_TOKENS, context // 2)) if new_tokens is None else new_tokens
    room, holder = context - new, f"the context of {checkpoint.name} holds {context} positions"
    if room < 1:
        raise UsageError(f"{new} new tokens leave no room for a prompt: {holder}.")
    for length in prompt_lengths or ():
        if length > room:
            raise UsageError(f"a prompt of {length} tokens and {new} new ones do not fit: {holder}.")
    asked = tuple(prompt_lengths or ())
    return Plan(
        prompt_lengths=asked or tuple(length for length in PROMPT_LENGTHS if length <= room) or (room,),
        batches=tuple(batches),
        new_tokens=new,
        repeat=repeat,
        trade=(asked or doubling(min(room, LONGEST_RECOMPUTED))) if trade else (),
        growth=(asked or doubling(room)) if growth else (),
    )


def doubling(most: int) -> tuple[int, ...]:
    """16, 32, 64 ... and `most` itself at the end; close to it none is left out but it."""
    lengths, length = [], SHORTEST
    while length * 4 <= most * 3:
        lengths.append(length)
        length *= 2
    return (*lengths, most)


def measure(checkpoint: Checkpoint, load: Callable[[], Session], plan: Plan, since: float, tell: Tell = lambda text: None) -> Report:
    """Load by `load` and measure; `since` is when the process started (time.monotonic), `tell` hears what is being measured."""
    tell("importing torch, opening the model")
    session, start, before_model = first_token(checkpoint, load, plan.prompt_lengths[0], since)
    import torch

    from gencli import __version__

    speeds = not (plan.trade or plan.growth)
    runner = _Runner(checkpoint, session, plan, tell)
    threads = torch.get_num_threads()
    prefills = tuple(map(runner.prefill, plan.prompt_lengths)) if speeds else ()
    decodes = tuple(runner.decode(length, rows) for length in plan.prompt_lengths for rows in plan.batches) if speeds else ()
    growth = runner.growth(plan.growth)
    trade = runner.trade(plan.trade)
    memory = Memory(  # before the bandwidth, whose buffer is no part of what a run needs
        peak_bytes=peak_resident(),
        before_model_bytes=before_model,
        device_peak_bytes=torch.cuda.max_memory_allocated() if session.device == "cuda" else None,
        weight_bytes=runner.weight_bytes,
        largest_cache_bytes=max([*(each.cache_bytes for each in (*decodes, *growth)), *(each.cache_bytes for each in trade)]),
    )
    tell("the machine's read bandwidth")
    bandwidth = read_bandwidth(session.device)
    return Report(
        gencli=__version__,
        torch=torch.__version__,
        checkpoint={"name": session.name, "path": str(session.path), "bytes": session.bytes},
        device=session.device,
        precision=session.precision,
        threads=threads,
        repeat=plan.repeat,
        start=start,
        prefill=prefills,
        decode=tuple(each.limited(bandwidth) for each in decodes),
        no_cache=trade,
        context=tuple(each.limited(bandwidth) for each in growth),
        memory=memory,
        bandwidth=bandwidth,
    )


def first_token(checkpoint: Checkpoint, load: Callable[[], Session], prompt_tokens: int, since: float) -> tuple[Session, Start, int | None]:
    """The session, the parts of its start, and the resident bytes once torch was there.

    `load` brings a tokenizer as well: what a second one takes is no part of the model's seconds.
    """
    from gencli.tokenizers import tokenizer_of

    lap = _Laps(since)
    process = lap()
    import torch

    imported, before_model = lap(), resident()
    tokenizer_of(checkpoint)
    tokenizer = lap()
    session = load()
    whole = lap()
    tokenizer_of(checkpoint)
    model = max(0.0, whole - lap())
    decoder = session.decoder(room=prompt_tokens + 1)
    logits = _prefilled(decoder, _prompt(session, prompt_tokens))
    if session.device == "cuda":
        torch.cuda.synchronize()
    prefill = lap()
    ids = _likeliest(logits)
    choice = lap()
    _likeliest(decoder.step(ids))
    total = process + imported + tokenizer + model + prefill + choice
    return session, Start(process, imported, tokenizer, model, prefill, choice, total, lap(), prompt_tokens), before_model


class _Laps:
    """A stopwatch: the seconds since it was last asked, on time.monotonic's clock."""

    def __init__(self, since: float) -> None:
        self._last = since

    def __call__(self) -> float:
        last, self._last = self._last, time.monotonic()
        return self._last - last


class _Runner:
    """Measures one session by one plan."""

    def __init__(self, checkpoint: Checkpoint, session: Session, plan: Plan, tell: Tell) -> None:
        self.session, self.plan, self.tell = session, plan, tell
        self.weight_bytes = round(weights_read(checkpoint) * find("precisions", session.precision).bytes_per_weight)
        self.cache_bytes = family(checkpoint.config).describe(checkpoint.config).cache_bytes

    def prefill(self, length: int) -> Prefill:
        self.tell(f"prefill of {length} tokens")
        decoder, ids = self.session.decoder(room=length), _prompt(self.session, length)
        seconds = self._median(lambda: _likeliest(_prefilled(decoder, ids)))
        return Prefill(length, seconds, length / seconds)

    def decode(self, length: int, rows: int) -> Decode:
        self.tell(f"steps of {rows} row{'s' * (rows > 1)} after {length} tokens")
        decoder = self.session.decoder(room=length + self.plan.new_tokens)
        first = _likeliest(_prefilled(decoder, _prompt(self.session, length), rows))

        def steps() -> None:
            decoder.rewind(length)
            _go_on(decoder, first, self.plan.new_tokens)

        return self._decode(length, rows, self._median(steps), decoder.nbytes)

    def growth(self, lengths: Sequence[int]) -> tuple[Decode, ...]:
        """Steps of one row at each length, turn by turn, so that other work on the machine is in all of them."""
        if not lengths:
            return ()
        new, longest = self.plan.new_tokens, max(lengths)
        decoder, prompt = self.session.decoder(room=longest + new), _prompt(self.session, longest)
        taken: dict[int, list[float]] = {length: [] for length in lengths}
        for turn in range(self.plan.repeat + 1):
            self.tell(f"a token after {longest} tokens and fewer, turn {turn + 1} of {self.plan.repeat + 1}")
            first = _likeliest(_prefilled(decoder, prompt))
            for length in sorted(taken, reverse=True):
                decoder.rewind(length)
                taken[length].append(_seconds(partial(_go_on, decoder, first, new)))
        return tuple(self._decode(length, 1, median(seconds[1:]), decoder.nbytes) for length, seconds in taken.items())

    def trade(self, lengths: Sequence[int]) -> tuple[Trade, ...]:
        """The same generation with and without the cache at each length, turn by turn."""
        new, sizes = self.plan.new_tokens, {}
        taken: dict[tuple[int, bool], list[float]] = {(length, cache): [] for length in lengths for cache in (True, False)}
        for turn in range(self.plan.repeat + 1):
            for length, cache in taken:
                self.tell(
                    f"{new} tokens after {length} {'with' if cache else 'without'} the cache, turn {turn + 1} of {self.plan.repeat + 1}"
                )
                decoder = self.session.decoder(cache=cache, room=length + new)
                taken[length, cache].append(_seconds(partial(_generate, decoder, _prompt(self.session, length), new)))
                sizes[length, cache] = decoder.nbytes
        middle = {key: median(seconds[1:]) for key, seconds in taken.items()}
        pairs = {length: (middle[length, True], middle[length, False]) for length in lengths}
        return tuple(Trade(length, new, has, lacks, lacks - has, sizes[length, True]) for length, (has, lacks) in pairs.items())

    def _decode(self, length: int, rows: int, seconds: float, cache_bytes: int) -> Decode:
        """`seconds` are those of all the steps."""
        new = self.plan.new_tokens
        read = rows * self.cache_bytes * (2 * length + new + 1) // 2  # the mean over the steps; each sees its own token too
        return Decode(length, rows, new, seconds / new, rows * new / seconds, self.weight_bytes, read, cache_bytes)

    def _median(self, work: Callable[[], object]) -> float:
        """The median of the plan's number of runs, in seconds, after one that warms up."""
        work()
        return median(_seconds(work) for _ in range(self.plan.repeat))


def _go_on(decoder: Decoder, ids: list[int], steps: int) -> None:
    """So many greedy steps after these tokens, one a row."""
    for _ in range(steps):
        ids = _likeliest(decoder.step(ids))


def _generate(decoder: Decoder, prompt: list[int], new: int) -> None:
    _go_on(decoder, _likeliest(_prefilled(decoder, prompt)), new - 1)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _prompt(session: Session, length: int) -> list[int]:
    """Ids of the asked number; which ones makes no difference to a dense model's time."""
    return [17 * place % session.model.vocab_size for place in range(length)]


def _prefilled(decoder: Decoder, ids: list[int], rows: int = 1) -> Tensor:
    logits = decoder.prefill(ids, rows)
    assert logits is not None  # nothing asked to interrupt it
    return logits


def _likeliest(logits: Tensor) -> list[int]:
    """The greedy choice a row; it waits for a device that still computes."""
    ids: list[int] = logits.argmax(1).tolist()
    return ids


def weights_read(checkpoint: Checkpoint) -> int:
    """How many weights a step multiplies with: every matrix, but of looked-up tables only one that is the head as well."""
    config = checkpoint.config
    tied = config.get("tie_word_embeddings", config.get("model_type") == "gpt2")
    other = r"lm_head\.weight" if tied else r"(.*\.)?(embed_tokens|wte)\.weight"
    left_out = re.compile(rf"(.*\.)?wpe\.weight|{other}")
    matrices = {name: header.shape for name, header in checkpoint.headers.items() if len(header.shape) == 2}
    return sum(math.prod(shape) for name, shape in matrices.items() if not left_out.fullmatch(name))
