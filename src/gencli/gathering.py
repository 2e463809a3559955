"""A run's events put together, sample by sample. Plain values; knows no run and no renderer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gencli.events import Event, Finished, Retracted, Started, Token


@dataclass
class Written:
    """One sample: the drawn `ids` (an end token with them), the text that each made certain (`pieces`, what was
    held back last), the bits to choose from at each where the run told them, and how it ended."""

    sample: int
    ids: list[int] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    reason: str = "interrupted"
    stop: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def gathered(events: Iterable[Event], tell: Callable[[Event], object] = lambda event: None) -> tuple[Started, list[Written]]:
    """How a run began, and its samples in order; `tell` hears every event as it comes."""
    started: Started | None = None
    found: dict[int, Written] = {}
    for event in events:
        tell(event)
        if isinstance(event, Started):
            started = event
            found = {number: Written(number) for number in range(event.first_sample, event.first_sample + event.samples)}
        elif isinstance(event, Retracted):
            del found[event.sample].ids[event.to_step :], found[event.sample].entropies[event.to_step :]
        elif isinstance(event, Token | Finished):
            sample = found[event.sample]
            sample.pieces.append(event.text)
            if isinstance(event, Finished):
                sample.reason, sample.stop = event.reason, event.stop
            else:
                sample.ids.append(event.id)
                if event.entropy is not None:
                    sample.entropies.append(event.entropy)
    assert started is not None, "a run begins with its start"
    return started, list(found.values())
