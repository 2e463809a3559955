"""Warns before pip fetches a CUDA build of torch, which is gigabytes. Asks pip, downloads nothing, knows no index."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time

from pip._vendor.packaging.requirements import Requirement

ADVICE = """
  For a CPU-only torch of some 200 MB, stop now (Ctrl-C) and say

      make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
"""


def is_cuda(requirements: list[str]) -> bool:
    """Whether a torch with these dependencies brings NVIDIA's libraries to this machine."""
    wanted = (Requirement(line) for line in requirements)
    names = (each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""}))
    return any(name.startswith(("nvidia-", "cuda-")) for name in names)


def torch_requirements(index_url: str) -> list[str] | None:
    """What the torch that pip would install depends on; None where pip does not tell.

    fast-deps reads a wheel's metadata by range requests where the index has no metadata files.
    """
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet"]
    command += ["--use-feature", "fast-deps", "--report", "-", "--constraint", "constraints.txt", "torch"]
    command += ["--index-url", index_url] if index_url else []
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        return list(json.loads(answer)["install"][0]["metadata"].get("requires_dist", []))
    except (subprocess.SubprocessError, ValueError, LookupError):
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index-url", default="", help="the index that torch comes from; empty for pip's own settings")
    index_url = parser.parse_args().index_url
    if importlib.util.find_spec("torch"):
        return
    requirements = torch_requirements(index_url)
    if requirements is None:
        print(f"WARNING: pip does not tell which torch it will fetch; on Linux a CUDA build is 2.7 GB.\n{ADVICE}", file=sys.stderr)
    elif is_cuda(requirements):
        print(f"WARNING: pip is about to fetch a CUDA build of torch: 2.7 GB of downloads for torch 2.13.\n{ADVICE}", file=sys.stderr)
    else:
        return
    if sys.stderr.isatty():
        time.sleep(10)  # long enough to read it and to stop


main()
