"""Whether a checkpoint fits: the arithmetic, the refusal before anything is read, and what it says would help."""

from __future__ import annotations

import json
import shutil
import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gencli.commands.generate import generate
from gencli.errors import RunError
from gencli.fitting import WEIGHT_BYTES, Need, need_of, refusal, refuse_what_cannot_fit
from gencli.formats import open_checkpoint
from gencli.loading import load
from gencli.machine import Available
from gencli.registry import find, names

WIDTH, MLP, LAYERS, VOCABULARY = 16384, 53248, 260, 128_000  # 10^12 weights: no machine that runs this holds them
NEED = Need(parameters=1_000_000_000, precision="float32", rows=1, positions=0, cache_bytes=100_000)


@pytest.fixture
def giant(fable: Path, tmp_path: Path) -> Path:
    """A checkpoint of 2 TB of which the disk holds the header alone."""
    shapes = {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "model.norm.weight": (WIDTH,), "lm_head.weight": (VOCABULARY, WIDTH)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        shapes |= {f"{prefix}self_attn.{name}_proj.weight": (WIDTH, WIDTH) for name in "qkvo"}
        shapes |= {f"{prefix}mlp.{name}_proj.weight": (MLP, WIDTH) for name in ("gate", "up")}
        shapes[f"{prefix}mlp.down_proj.weight"] = (WIDTH, MLP)
        shapes |= {f"{prefix}{name}_layernorm.weight": (WIDTH,) for name in ("input", "post_attention")}
    header, at = {}, 0
    for name, shape in shapes.items():
        end = at + 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    folder = tmp_path / "giant"
    folder.mkdir()
    data = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(data)) + data)
        file.truncate(8 + len(data) + at)
    sizes = {"hidden_size": WIDTH, "intermediate_size": MLP, "num_hidden_layers": LAYERS, "num_attention_heads": 128, "head_dim": 128}
    config = {"architectures": ["LlamaForCausalLM"], "vocab_size": VOCABULARY, "max_position_embeddings": 8192, **sizes}
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(fable / name, folder)
    return folder


def test_a_giant_is_refused_before_it_is_read(giant):
    size = (giant / "model.safetensors").stat()
    assert size.st_size > 1.9e12
    assert size.st_blocks * 512 < 1 << 20
    start = time.monotonic()
    with pytest.raises(RunError, match=r"giant does not fit: 1.93 TB for 963,[\d,]+ weights of 2 bytes \(float16\) and .* free "):
        load(str(giant))
    assert time.monotonic() - start < 2
    with pytest.raises(RunError, match=r"It takes at least \d+ GB in any precision: a smaller checkpoint fits, or a larger machine"):
        load(str(giant), precision="int8")


def test_the_command_line_counts_the_cache_that_was_asked_for(giant):
    arguments = ["--checkpoint", str(giant), "--samples", "4", "--max-new-tokens", "1000", "--no-stdin", "x" * 400]
    with pytest.raises(RunError) as caught:
        generate.main(arguments, prog_name="gencli generate", standalone_mode=False)
    # keys and values of 260 layers with 128 heads of 128 numbers of 4 bytes
    assert f"for a KV cache of 1,100 positions x 4 texts ({2 * 260 * 128 * 128 * 4 / 1e6:.3g} MB each)" in str(caught.value)
    with pytest.raises(RunError, match="for a KV cache of 1,100 positions x 8 texts"):  # guidance reads a second text beside each
        generate.main(["--guidance", "2", *arguments], prog_name="gencli generate", standalone_mode=False)


def test_what_fits_is_not_refused(fable):
    checkpoint = open_checkpoint(fable)
    for precision in ("auto", *WEIGHT_BYTES):
        refuse_what_cannot_fit(checkpoint, precision, rows=8, positions=1 << 40)
    need = need_of(checkpoint, "float32", rows=8, positions=1 << 40)
    assert (need.weights, need.cache) == (4 * 5_573_888, 8 * 512 * 12_288)  # never more than the context
    assert need.total == need.weights + need.cache + need.slack


@pytest.mark.parametrize("precision", names("precisions"))
def test_bytes_a_weight_are_those_of_the_precisions(precision):
    assert WEIGHT_BYTES[precision] == find("precisions", precision).bytes_per_weight
    assert len(WEIGHT_BYTES) == len(names("precisions"))


@pytest.mark.parametrize(
    ("need", "free", "says"),
    [
        ({}, 3e9, "4 GB for 1,000,000,000 weights of 4 bytes (float32) and 125 MB to compute with make 4.12 GB, and 3 GB are free here."),
        ({}, 3e9, "With --precision float16 it takes 2.07 GB, which fits."),
        ({}, 2e9, "With --precision int8 it takes 1.07 GB, which fits."),
        ({}, 1e9, "It takes at least 1.07 GB in any precision: a smaller"),
        ({"positions": 30_000}, 5e9, "3 GB for a KV cache of 30,000 positions (100 kB each) and 125 MB"),
        ({"positions": 30_000, "precision": "int8"}, 3e9, "19,328 positions fit: ask for fewer with --max-new-tokens or --samples."),
        ({"positions": 300, "rows": 100}, 5e9, "3 GB for a KV cache of 300 positions x 100 texts"),
    ],
)
def test_the_refusal_tells_the_sum_and_what_helps(need, free, says):
    assert says in refusal("it", replace(NEED, **need), Available(int(free), "here"))
