"""What a machine gives: how fast it reads memory, and how much of it this process holds. Knows no model."""

from __future__ import annotations

import math
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

SMALLEST_BUFFER = 1 << 30  # bytes that the bandwidth is measured over
BANDWIDTH_SECONDS = 2.0  # of reading: the fastest pass of many, since other work can only slow one


@dataclass(frozen=True)
class Bandwidth:
    """How fast torch reads memory: the fastest pass over a buffer of `buffer_bytes` on `threads` threads."""

    bytes_per_second: float
    buffer_bytes: int
    threads: int


def read_bandwidth(device: str = "cpu") -> Bandwidth:
    """The fastest of many sums over a buffer that no cache holds, on all the threads that this process may use.

    It is as large as it is because a short read may wait longer for a busy thread than it reads.
    """
    import torch

    before = torch.get_num_threads()
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    buffer = torch.ones(buffer_bytes() // 4, dtype=torch.float32, device=device)
    torch.set_num_threads(threads)
    try:
        buffer.sum().item()
        end, fastest = time.perf_counter() + BANDWIDTH_SECONDS, math.inf
        while time.perf_counter() < end:
            start = time.perf_counter()
            buffer.sum().item()
            fastest = min(fastest, time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    return Bandwidth(buffer.nbytes / fastest, buffer.nbytes, threads)


def buffer_bytes() -> int:
    """At least a gigabyte and four times the largest cache, but never more than an eighth of the memory."""
    stated = [stated_bytes(file) for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    wanted = max(SMALLEST_BUFFER, 4 * max(stated, default=0))
    try:
        return min(wanted, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 8)
    except (AttributeError, ValueError, OSError):
        return wanted


def stated_bytes(file: Path) -> int:
    """The bytes that "32768K" says, 0 where it says none."""
    match = re.fullmatch(r"(\d+)([KMG]?)\s*", file.read_text(encoding="ascii", errors="replace"))
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2]] if match else 0


def resident() -> int | None:
    """The bytes of memory that this process holds now, where the system tells."""
    return _status("VmRSS")


def peak_resident() -> int | None:
    """The most bytes of memory that this process held so far, where the system tells."""
    if (told := _status("VmHWM")) is not None:
        return told
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _status(field: str) -> int | None:
    """A field of Linux's /proc/self/status, in bytes."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    match = re.search(rf"^{field}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else None
