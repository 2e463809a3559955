"""What a measurement of a checkpoint tells, as plain values in seconds and bytes. Knows no tensors and no terminal."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from gencli.machine import Bandwidth


@dataclass(frozen=True)
class Start:
    """The seconds from the start of the process to the first token, part by part; `step` is the token after it."""

    process: float
    torch: float
    tokenizer: float
    model: float
    prefill: float
    choice: float
    total: float
    step: float
    prompt_tokens: int


@dataclass(frozen=True)
class Prefill:
    """A prompt of one row, computed at once."""

    prompt_tokens: int
    seconds: float
    tokens_per_second: float


@dataclass(frozen=True)
class Decode:
    """Steps of `rows` rows after a prompt; tokens a second are those of all rows together.

    `bytes_per_step` are the weights, and the mean of what a step reads of the cache. `share_of_limit`
    is what reading them at the machine's bandwidth would take, over what the step took.
    """

    prompt_tokens: int
    rows: int
    new_tokens: int
    seconds_per_step: float
    tokens_per_second: float
    weight_bytes_per_step: int
    cache_bytes_per_step: int
    cache_bytes: int
    share_of_limit: float = 0.0

    @property
    def bytes_per_step(self) -> int:
        return self.weight_bytes_per_step + self.cache_bytes_per_step

    def limited(self, bandwidth: Bandwidth) -> Decode:
        """The same, with its share of the limit that this bandwidth sets."""
        return replace(self, share_of_limit=self.bytes_per_step / bandwidth.bytes_per_second / self.seconds_per_step)


@dataclass(frozen=True)
class Trade:
    """A whole generation, prefill included, with and without the cache: seconds saved for bytes paid."""

    prompt_tokens: int
    new_tokens: int
    seconds_with_cache: float
    seconds_without_cache: float
    seconds_saved: float
    cache_bytes: int


@dataclass(frozen=True)
class Memory:
    """Resident bytes of the process at their peak and when torch was there; of the device, what torch took. None: not told here."""

    peak_bytes: int | None
    before_model_bytes: int | None
    device_peak_bytes: int | None
    weight_bytes: int
    largest_cache_bytes: int


@dataclass(frozen=True)
class Report:
    """Everything that was measured, and where; what was not asked for is empty."""

    gencli: str
    torch: str
    checkpoint: dict[str, Any]
    device: str
    precision: str
    threads: int
    repeat: int
    start: Start
    prefill: tuple[Prefill, ...]
    decode: tuple[Decode, ...]
    no_cache: tuple[Trade, ...]
    context: tuple[Decode, ...]
    memory: Memory
    bandwidth: Bandwidth

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self)
