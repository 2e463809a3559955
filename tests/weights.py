"""Small checkpoints with random weights, as folders that any format is converted from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from gencli.formats import open_checkpoint
from gencli.models import RandomTensors, family
from gencli.models.gpt2 import Gpt2Config
from gencli.models.llama import LlamaConfig
from gencli.precisions.float32 import Float32

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 4096,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
GPT2: dict[str, Any] = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "vocab_size": 4096,
    "n_embd": 64,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 128,
    "eos_token_id": 0,
}
CONFIGS = {"llama": (LLAMA, LlamaConfig), "gpt2": (GPT2, Gpt2Config)}


def random_folder(folder: Path, tokenizer: Path, kind: str = "llama", dtype: torch.dtype = torch.float32, **settings: Any) -> Path:
    """A folder with a random model of this kind and the tokenizer of another folder."""
    values, read = CONFIGS[kind]
    config = {**values, **settings}
    random = RandomTensors(read.read(config).layout(), torch.Generator().manual_seed(1), spread=0.1)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, folder)
    prefix = "model." if kind == "llama" else "transformer."
    tensors = {name if name.startswith("lm_head") else prefix + name: varied(random, name).to(dtype) for name in random.headers}
    save_file(tensors, folder / "model.safetensors")
    return folder


def varied(random: RandomTensors, name: str) -> Tensor:
    """Norms and biases too, so that one in a wrong place shows."""
    tensor = random[name]
    return tensor + torch.linspace(-0.2, 0.2, len(tensor)) if tensor.dim() == 1 else tensor


def logits(path: Path, count: int = 12) -> Tensor:
    """What the checkpoint at a path makes of some ids, in float32."""
    checkpoint = open_checkpoint(path)
    model = family(checkpoint.config).build(checkpoint.config, checkpoint.tensors, Float32())
    return model(torch.arange(7, 7 + count)[None] * 5 % model.vocab_size)
