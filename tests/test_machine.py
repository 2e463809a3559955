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
