"""What loading frees goes back to the system, and ordinary work keeps its blocks."""

from __future__ import annotations

import platform
import sys

import pytest
import torch

from gencli.allocator import returning_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="another C library")
BLOCK = 8 << 20  # bytes


def anonymous() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon"))


def test_freed_blocks_go_back_while_loading() -> None:
    with returning_memory():
        blocks = [torch.ones(BLOCK // 4) for _ in range(8)]
        last = torch.ones(1 << 16)  # what is allocated last would hold the heap open
        before = anonymous()
        del blocks
        assert before - anonymous() > 7 * BLOCK
        assert last.sum() == 1 << 16


def test_afterwards_blocks_are_kept() -> None:
    with returning_memory():
        pass
    first = torch.ones(BLOCK // 4)
    place = first.data_ptr()
    del first
    assert torch.ones(BLOCK // 4).data_ptr() == place
