"""What loading takes at its peak, asked of the system in processes of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gencli.conversion import convert
from gencli.formats import open_checkpoint
from weights import random_folder

PEAK = """
import json, re, sys
from pathlib import Path
from gencli import loading
loading.WORTH_COMPILING = 1 << 60  # the compiler's own memory is not a matter of loading
session = loading.session_from(Path(sys.argv[1]), precision=sys.argv[2])
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
code, library = 0, False
for line in Path("/proc/self/smaps").read_text().splitlines():
    what, *rest = line.split()
    if not what.endswith(":"):
        library = ".so" in line
    elif library and what in ("Rss:", "Anonymous:"):
        code += int(rest[0]) if what == "Rss:" else -int(rest[0])
print(int(peak) - code)
"""
# Of the 300 MB beside the weights the libraries' code has 75. They are left out on both sides: the kernel maps
# ahead what its cache happens to hold of a file, which was measured to be 75 MB or 150 for the same process.
BESIDE = 225_000_000


@pytest.fixture(scope="module")
def large(fable: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """300 MB of random float16 as safetensors, the same as torch saves it, and as a GGUF file of 8 bits."""
    place = tmp_path_factory.mktemp("large")
    sizes = {"hidden_size": 1536, "intermediate_size": 4096, "num_hidden_layers": 5, "num_attention_heads": 12, "num_key_value_heads": 12}
    folder = random_folder(place / "folder", fable, dtype=torch.float16, **sizes)
    old = place / "old"
    shutil.copytree(folder, old, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.save(load_file(folder / "model.safetensors"), old / "pytorch_model.bin")
    convert(open_checkpoint(folder), place / "x.gguf", "gguf", "q8_0")
    return {"safetensors": folder, "torch": old, "gguf": place / "x.gguf"}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for a process's peak")
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16", "int8"])
@pytest.mark.parametrize("kind", ["safetensors", "torch", "gguf"])
def test_loading_takes_the_final_weights_and_little_more(large: dict[str, Path], kind: str, precision: str) -> None:
    if precision == "float16" and "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("this processor has no FBGEMM")
    headers = open_checkpoint(large[kind]).headers
    numbers = [torch.Size(header.shape).numel() for header in headers.values()]
    table = torch.Size(headers["model.embed_tokens.weight"].shape).numel()
    width = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}[precision]
    # int8 holds the table of embeddings as it is read
    final = sum(numbers) * width + (table * 3 if precision == "int8" else 0)
    done = subprocess.run([sys.executable, "-c", PEAK, str(large[kind]), precision], capture_output=True, text=True, check=True)
    assert int(done.stdout) << 10 <= final + 4 * max(numbers) + BESIDE
