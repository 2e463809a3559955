"""What loading frees goes back to the system, and ordinary work keeps its blocks: each seen in a process whose heap nothing else shaped."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="another C library")

BEFORE = """
import torch
from gencli.allocator import returning_memory

BLOCK = 8 << 20  # bytes

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon"))
"""
WHILE_LOADING = """
with returning_memory():
    blocks = [torch.ones(BLOCK // 4) for _ in range(8)]
    last = torch.ones(1 << 16)  # what is allocated last would hold the heap open
    before = anonymous()
    del blocks
    assert before - anonymous() > 7 * BLOCK
    assert last.sum() == 1 << 16
"""
AFTERWARDS = """
with returning_memory():
    pass
first = torch.ones(BLOCK // 4)
before = anonymous()
del first
assert before - anonymous() < BLOCK // 2
"""
LARGE_PAGES = """
import mmap
from gencli.allocator import in_large_pages

def large():
    with open("/proc/self/smaps_rollup") as rollup:
        return next(int(line.split()[1]) << 10 for line in rollup if line.startswith("AnonHugePages"))

asked = mmap.mmap(-1, 4 * BLOCK, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # by Python's own way: a system may have them and have none left
asked.madvise(mmap.MADV_HUGEPAGE)
before = large()
asked.write(bytes(4 * BLOCK))
if large() - before <= BLOCK:
    raise SystemExit("none left")
block = torch.empty(BLOCK)  # four times as many bytes
in_large_pages(block.data_ptr(), block.nbytes)
before = large()
block.fill_(1)
assert large() - before > BLOCK, (before, large())
small = torch.ones(1000)
in_large_pages(small.data_ptr(), small.nbytes)  # holds no whole page: nothing is asked
assert small.sum() == 1000
"""


@pytest.mark.parametrize("program", [WHILE_LOADING, AFTERWARDS], ids=["freed blocks go back while loading", "afterwards blocks are kept"])
def test_blocks(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", BEFORE + program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_large_pages_where_the_system_has_them() -> None:
    try:
        given = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        given = "[never]"
    if "[never]" in given:
        pytest.skip("this system gives no large pages")
    done = subprocess.run([sys.executable, "-c", BEFORE + LARGE_PAGES], capture_output=True, text=True, timeout=60, check=False)
    if done.stderr == "none left\n":
        pytest.skip("this system has no large pages left")
    assert done.returncode == 0, done.stderr
