"""How the C library keeps memory that was freed: for loading, not at all. Knows no tensor."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# of glibc's mallopt: what to set, from how many bytes on a block is the system's own, and how much may stay free at the end
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
WHILE_LOADING, LARGEST = 1 << 20, 1 << 25  # bytes; glibc raises its threshold by itself, up to the second


@contextmanager
def returning_memory() -> Iterator[None]:
    """Within it every large block goes back to the system at once. Without it, what one tensor needed on its way would lie idle.

    Afterwards blocks are kept as glibc keeps them once a few large ones were freed. Does nothing with another C library.
    """
    _set(MMAP_THRESHOLD, WHILE_LOADING)
    try:
        yield
    finally:
        _set(MMAP_THRESHOLD, LARGEST)
        _set(TRIM_THRESHOLD, 2 * LARGEST)


def _set(what: int, value: int) -> None:
    if sys.platform != "linux":
        return
    import ctypes  # which torch has loaded by then

    try:
        ctypes.CDLL(None).mallopt(what, value)
    except (AttributeError, OSError):
        return
