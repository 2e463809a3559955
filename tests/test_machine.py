"""What is told of the machine: real readings of this one, and none of them a promise."""

from __future__ import annotations

import os
import sys

import pytest
import torch

from gencli import machine


def test_the_bandwidth_is_read_over_a_large_buffer_and_leaves_the_threads_alone(monkeypatch):
    monkeypatch.setattr(machine, "BANDWIDTH_SECONDS", 0.05)
    before = torch.get_num_threads()
    measured = machine.read_bandwidth()
    assert measured.bytes_per_second > 0
    assert measured.threads >= 1
    assert measured.buffer_bytes == machine.buffer_bytes() // 4 * 4
    assert torch.get_num_threads() == before


def test_the_buffer_leaves_room_for_others():
    assert 0 < machine.buffer_bytes() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 8


@pytest.mark.parametrize(("text", "size"), [("32768K\n", 32 << 20), ("1M", 1 << 20), ("512", 512), ("many", 0), ("", 0)])
def test_the_size_of_a_cache_is_read_as_the_system_writes_it(tmp_path, text, size):
    (tmp_path / "size").write_text(text)
    assert machine.stated_bytes(tmp_path / "size") == size


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells what is resident now")
def test_the_peak_holds_what_was_held():
    held = torch.ones(1 << 23)
    now, peak = machine.resident(), machine.peak_resident()
    assert now is not None
    assert peak is not None
    assert held.nbytes < now <= peak + (1 << 20)  # the kernel counts in batches


def forged(root, group, **files):
    """A /proc and /sys of a machine with 8 GB free whose process is in a control group."""
    for name, text in {"proc/meminfo": "MemTotal: 16000000 kB\nMemAvailable:    8000000 kB\n", "proc/self/cgroup": group, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return machine.available_memory(root)


def limits(folder, limit, usage, prefix="", names=("memory.max", "memory.current")):
    """A control group's files, with 100 bytes of its usage in files that can be dropped."""
    stat = f"anon 1\n{prefix}inactive_file 60\n{prefix}active_file 40\n"
    return {f"{folder}/{names[0]}": f"{limit}\n", f"{folder}/{names[1]}": f"{usage}\n", f"{folder}/memory.stat": stat}


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")


@pytest.mark.parametrize(
    ("group", "files", "free", "where"),
    [
        ("0::/\n", {}, 8_192_000_000, "on this machine"),
        ("0::/a/b\n", limits("sys/fs/cgroup/a/b", "max", 500), 8_192_000_000, "on this machine"),
        ("0::/a/b\n", limits("sys/fs/cgroup/a/b", 1000, 500), 600, "in this process's control group (memory.max)"),
        ("0::/a/b\n", {**limits("sys/fs/cgroup/a/b", 1000, 500), **limits("sys/fs/cgroup/a", 700, 600)}, 200, "control group (memory.max)"),
        ("0::/outside/name\n", limits("sys/fs/cgroup", 1000, 990), 110, "control group (memory.max)"),  # as a container sees it
        ("0::/\n", limits("sys/fs/cgroup", 1000, 2000), 0, "control group (memory.max)"),
        ("0::/\n", limits("sys/fs/cgroup", 1000, 20), 1000, "control group (memory.max)"),
        ("4:memory:/x\n0::/\n", limits("sys/fs/cgroup/memory/x", 1000, 500, "total_", V1), 600, "(memory.limit_in_bytes)"),
        ("3:cpu,memory:/x\n", limits("sys/fs/cgroup/memory", 1000, 500, "total_", V1), 600, "(memory.limit_in_bytes)"),
        ("4:memory:/x\n", limits("sys/fs/cgroup/memory/x", (1 << 63) - 4096, 500, "total_", V1), 8_192_000_000, "on this machine"),
        ("no such line\n", {}, 8_192_000_000, "on this machine"),
    ],
)
def test_free_memory_is_the_least_of_what_machine_and_groups_leave(tmp_path, group, files, free, where):
    found = forged(tmp_path, group, **files)
    assert found.bytes == free
    assert where in found.where


def test_this_machine_has_free_memory(tmp_path):
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 1 << 20 < machine.available_memory().bytes <= physical
    # a system without /proc tells what it has
    assert machine.available_memory(tmp_path) == (physical, "in this machine")
