"""The bytes a second that this machine reads, as `gencli bench` measures it. Knows no model."""

from gencli.machine import read_bandwidth

print(read_bandwidth().bytes_per_second)
