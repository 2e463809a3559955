"""How memory is handed out: back to the system while loading, and in large pages for what every step reads. Knows no tensor."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# of glibc's mallopt: what to set, from how many bytes on a block is the system's own, and how much may stay free at the end
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
HUGEPAGE, LARGE_PAGE = 14, 1 << 21  # of Linux: the advice, and the bytes of such a page
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


def in_large_pages(place: int, size: int) -> None:
    """Have the `size` bytes at an address lie in pages of 2 MB, if the system has them and as far as they hold whole ones."""
    import ctypes

    first, end = -(-place // LARGE_PAGE) * LARGE_PAGE, (place + size) // LARGE_PAGE * LARGE_PAGE
    if end > first:
        _ask("madvise", ctypes.c_void_p(first), ctypes.c_size_t(end - first), HUGEPAGE)


def _set(what: int, value: int) -> None:
    _ask("mallopt", what, value)


def _ask(function: str, *arguments: Any) -> None:
    """Call one of the C library's functions, if there is such a one; advice that is not taken does no harm."""
    if sys.platform != "linux":
        return
    import ctypes  # which torch has loaded by then

    try:
        getattr(ctypes.CDLL(None), function)(*arguments)
    except (AttributeError, OSError):
        return
