"""What a benchmark leaves behind: the machine it ran on, and a table between the marks of a page. Knows no measure."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
FLAGS = ("avx2", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd", "sve")


def machine(*distributions: str) -> str:
    """One line: processor, cores, what it can do, load, and the versions of what was measured."""
    told = Path("/proc/cpuinfo").read_text(errors="replace") if Path("/proc/cpuinfo").exists() else ""
    names = re.findall(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
    flags = set(re.findall(r"\w+", " ".join(re.findall(r"^(?:flags|Features)\s*:\s*(.+)$", told, re.MULTILINE)[:1])))
    able = [flag for flag in FLAGS if flag in flags]
    parts = [names[0] if names else platform.processor() or platform.machine(), f"{os.cpu_count()} cores", " ".join(able)]
    parts += [f"load {os.getloadavg()[0]:.1f}", f"Python {platform.python_version()}", *filter(None, map(_version, distributions))]
    return ", ".join(filter(None, parts))


def _version(distribution: str) -> str:
    try:
        return f"{distribution} {version(distribution)}"
    except PackageNotFoundError:
        return ""


def write(name: str, text: str, page: Path = PAGE) -> None:
    """Put a text between the page's marks `<!-- measured: NAME -->` and `<!-- end -->`; exits where the page has none."""
    whole = page.read_text(encoding="utf-8")
    region = re.compile(rf"(<!-- measured: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not region.search(whole):
        sys.exit(f"{page} has no marks <!-- measured: {name} --> and <!-- end -->")
    page.write_text(region.sub(lambda marks: f"{marks[1]}{text.strip()}\n{marks[2]}", whole), encoding="utf-8")


def alone(script: str, *arguments: str) -> Any:
    """The last line that another script of this folder prints, as JSON: in a process of its own no measure disturbs another."""
    command = [sys.executable, str(Path(__file__).parent / f"{script}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join([script, *arguments])}: exit code {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.splitlines()[-1])
