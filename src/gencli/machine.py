"""What a machine gives: how fast it reads memory, how much of it this process holds, and how much is to be had. Knows no model."""

from __future__ import annotations

import math
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

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
    told = _number(Path("/proc/self/status"), rf"^{field}:\s+(\d+) kB$")
    return None if told is None else told * 1024


class Available(NamedTuple):
    """Bytes of memory that are to be had, and what bounds them, as the end of a sentence: "on this machine"."""

    bytes: int
    where: str


def available_memory(root: Path = Path("/")) -> Available | None:
    """The memory that this process may still take, without swap: the least of what the machine and its control groups leave.

    Files that the system keeps in memory and can drop count as free. None where the system does not tell;
    outside of Linux it is all the memory there is. `root` is where /proc and /sys lie.
    """
    found = [*_machine_memory(root), *_group_memory(root)]
    return min(found, default=None)


def _machine_memory(root: Path) -> Iterator[Available]:
    told = _number(root / "proc" / "meminfo", r"^MemAvailable:\s+(\d+) kB$")
    if told is not None:
        yield Available(told * 1024, "on this machine")
        return
    try:
        yield Available(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "in this machine")
    except (AttributeError, ValueError, OSError):
        return


def _group_memory(root: Path) -> Iterator[Available]:
    """What each of this process's control groups leaves, version 2 (0::/group) and 1 (4:memory:/group)."""
    try:
        lines = (root / "proc" / "self" / "cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        if number == "0":
            top, limit, usage, prefix = root / "sys/fs/cgroup", "memory.max", "memory.current", ""
        elif "memory" in controllers.split(","):
            top, limit, usage, prefix = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
        else:
            continue
        group = top / path.lstrip("/")
        # a container may see its own group as the top one, and under another name outside
        for place in (group, *group.parents) if group.is_dir() else (top,):
            most, used = _number(place / limit, r"^(\d+)$"), _number(place / usage, r"^(\d+)$")
            if most is not None and used is not None:
                files = sum(_number(place / "memory.stat", rf"^{prefix}{kind}_file (\d+)$") or 0 for kind in ("inactive", "active"))
                yield Available(max(0, most - used + min(files, used)), f"in this process's control group ({limit})")
            if place == top:
                break


def _number(file: Path, pattern: str) -> int | None:
    """The number in a system file's line, where there is such a file and line."""
    try:
        match = re.search(pattern, file.read_text(encoding="ascii", errors="replace"), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) if match else None
