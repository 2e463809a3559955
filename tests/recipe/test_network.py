"""The trained network is Llama: logits as transformers' own, through the exported folder."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from recipe.evaluation import open_checkpoint
from recipe.export import write
from recipe.network import Network, Size
from recipe.training import train


def test_logits_are_those_of_transformers(opened, data: Path, tmp_path: Path) -> None:
    from transformers import LlamaForCausalLM

    run = opened("run")
    train(run, steps=3)
    folder = tmp_path / "checkpoint"
    write(data, run.folder, folder)
    network, _ = open_checkpoint(folder)
    theirs = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.randint(0, 320, (2, 100), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(network(ids), theirs(ids).logits, atol=1e-5)


def test_shared_heads_are_those_of_transformers() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
        max_position_embeddings=32, tie_word_embeddings=True,
    )  # fmt: skip
    theirs = LlamaForCausalLM(config).eval()
    network = Network(Size.of(json.loads(config.to_json_string(use_diff=False))))
    tensors = {name.removeprefix("model."): each for name, each in theirs.state_dict().items() if name != "lm_head.weight"}
    network.load_state_dict(tensors)
    ids = torch.randint(0, 64, (2, 32))
    with torch.inference_mode():
        assert torch.allclose(network(ids), theirs(ids).logits, atol=1e-5)
