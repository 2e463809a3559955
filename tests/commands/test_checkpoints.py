"""`gencli checkpoints list | info`: facts from headers alone."""

from __future__ import annotations

import json
import os
import re
import shutil

import pytest

from gencli.commands.checkpoints import checkpoints
from gencli.description import licence
from gencli.errors import RunError, UsageError
from hub_server import serving
from streams import terminal


@pytest.fixture
def run(capfd, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def go(*args):
        checkpoints.main(list(args), prog_name="gencli checkpoints", standalone_mode=False)
        return capfd.readouterr().out

    return go


def info(run, *args):
    return json.loads(run("info", *args, "--format", "json"))


def test_info_without_a_name_is_the_embedded_one(run, fable):
    facts = info(run)
    assert facts["path"] == str(fable)
    wanted = {
        "name": "fable-6m",
        "architecture": "LlamaForCausalLM",
        "parameters": 5_573_888,
        "context": 512,
        "vocabulary": 4096,
        "layers": 6,
        "kv_heads": 4,
        "head_dim": 64,
        "dtypes": {"float16": 5_573_888},
        "bytes": (fable / "model.safetensors").stat().st_size,
    }
    assert {key: facts[key] for key in wanted} == wanted
    # keys and values of 6 layers with 4 heads of 64 numbers of 4 bytes
    assert facts["kv_cache_bytes_per_token"] == 2 * 6 * 4 * 64 * 4
    memory = facts["memory"]
    assert {key: memory[key] for key in ("positions", "kv_cache_bytes")} == {"positions": 512, "kv_cache_bytes": 512 * 12_288}
    for precision, size in {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}.items():
        assert memory[precision] == size * 5_573_888 + 512 * 12_288
        assert precision in memory["fits"]
    assert memory["available"] > memory["float32"]
    assert facts["from"] == "shipped"
    stated = json.loads((fable / "tokenizer_config.json").read_text())
    assert facts["chat_template"] is bool(stated.get("chat_template"))


def test_info_in_words(run):
    text = run("info", "fable-6m", "--context", "100")
    for line in (
        "parameters    5,573,888",
        "context       512 positions",
        "vocabulary    4,096 tokens",
        "KV cache      12,288 bytes a token (float32)",
    ):
        assert line in text.splitlines()
    weights = "23.5 MB (float32), 12.4 MB (float16), 12.4 MB (bfloat16), 6.8 MB (int8)"
    assert f"{weights} at 100 positions, 1.23 MB of it the KV cache" in text
    assert re.search(r"^here +[\d.]+ [GT]B free, which any precision fits in$", text, re.MULTILINE)


def test_the_memory_is_told_at_a_length_the_context_holds(run):
    assert info(run, "--context", "1")["memory"]["kv_cache_bytes"] == 12_288
    with pytest.raises(UsageError, match="--context must be at most 512, the context of fable-6m, not 513"):
        run("info", "--context", "513")
    with pytest.raises(UsageError, match="--context must be a whole number at least 1"):
        run("info", "--context", "0")


def test_the_variable_names_the_default(run, monkeypatch, real_data):
    monkeypatch.setenv("GENCLI_CHECKPOINT", str(real_data / "stories260k"))
    facts = info(run)
    assert (facts["name"], facts["context"], facts["kv_heads"], facts["parameters"]) == ("stories260k", 512, 4, 260_032)


@pytest.mark.slow
def test_parameters_are_those_that_transformers_counts(run, tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    tiny = {
        "vocab_size": 50,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    for name, model in {
        "gpt2": GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=4, n_positions=32, bos_token_id=0, eos_token_id=0)),
        "tied": LlamaForCausalLM(LlamaConfig(**tiny, tie_word_embeddings=True)),
        "own-head": LlamaForCausalLM(LlamaConfig(**tiny, tie_word_embeddings=False)),
    }.items():
        model.save_pretrained(tmp_path / name)
        assert info(run, f"./{name}")["parameters"] == model.num_parameters()


def test_buffers_and_tied_heads_do_not_count(run, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=4, n_positions=32, bos_token_id=0, eos_token_id=0))
    model.save_pretrained(tmp_path / "old")
    weights = load_file(tmp_path / "old" / "model.safetensors")
    more = {"transformer.h.0.attn.bias": torch.ones(1, 1, 32, 32), "lm_head.weight": model.lm_head.weight.detach().clone()}
    save_file({**weights, **more}, tmp_path / "old" / "model.safetensors")
    assert info(run, "./old")["parameters"] == model.num_parameters()


def test_list_names_every_checkpoint_and_hides_none_behind_a_damaged_one(run, fable, tmp_path):
    mine = tmp_path / "data" / "gencli" / "checkpoints"
    shutil.copytree(fable, mine / "copy")
    shutil.copytree(fable, mine / "broken")
    (mine / "broken" / "model.safetensors").write_bytes(b"\xff" * 100)
    header, broken, copy, default = run("list").splitlines()
    assert header.split() == ["checkpoint", "from", "architecture", "parameters", "context", "size", "path"]
    assert broken.startswith("broken ")
    assert "damaged" in broken
    assert copy.split() == ["copy", "yours", "LlamaForCausalLM", "5,573,888", "512", "11.2", "MB", str(mine / "copy")]
    assert default.startswith("fable-6m (default)")
    found = json.loads(run("list", "--format", "json"))
    assert [(each["name"], each["error"] is None) for each in found] == [("broken", False), ("copy", True), ("fable-6m", True)]


def test_a_damaged_checkpoint_is_a_run_time_failure_and_an_unknown_one_a_wrong_usage(run, fable, tmp_path):
    shutil.copytree(fable, tmp_path / "broken")
    (tmp_path / "broken" / "config.json").write_text("{}")
    with pytest.raises(RunError, match="architecture"):
        run("info", "./broken")
    with pytest.raises(UsageError, match=r"there is no checkpoint 'fable-6'. Did you mean 'fable-6m'"):
        run("info", "fable-6")


@pytest.mark.parametrize(
    ("card", "name"),
    [
        ("---\nlicense: mit\ntags: [a]\n---\n# A model\n", "mit"),
        ('---\r\nlanguage: en\r\nlicence: "Apache-2.0"\r\n---\r\n', "Apache-2.0"),
        ("---\nlicense:\n---\n", None),
        ("# A model\n\nlicense: mit\n", None),
        ("---\nlanguage: en\n---\nlicense: mit\n", None),
        ("---\nlicense: mit\n", None),
        ("", None),
    ],
)
def test_the_licence_stands_in_the_cards_first_block(tmp_path, card, name):
    (tmp_path / "README.md").write_bytes(card.encode())
    assert licence(tmp_path / "README.md") == name
    assert licence(tmp_path / "none.md") is None


def test_convert_writes_a_file_that_check_finds_whole(run, fable, tmp_path):
    assert run("convert", "fable-6m", "fable.gguf") == "fable.gguf: 11.3 MB\n"
    assert run("check", "./fable.gguf") == "fable is whole: 56 tensors, 5,573,888 numbers, all of them finite.\n"
    facts = info(run, "./fable.gguf")
    assert facts["dtypes"] == {"float16": 5_570_560, "float32": 3_328}
    assert facts["licence"] == info(run)["licence"] == "mit"
    with pytest.raises(UsageError, match=r"fable.gguf is there already; --force replaces it"):
        run("convert", "fable-6m", "fable.gguf", "--to", "gguf")
    assert run("convert", "./fable.gguf", "back", "--precision", "float16") == "back: 11.3 MB\n"
    assert (tmp_path / "back" / "model.safetensors").read_bytes()[-64:] == (fable / "model.safetensors").read_bytes()[-64:]


def test_a_gguf_file_is_found_by_the_names_that_ollama_and_the_hub_give_it(run, fable, tmp_path, monkeypatch):
    shutil.copytree(fable, tmp_path / "story")
    settings = json.loads((tmp_path / "story" / "config.json").read_text())
    (tmp_path / "story" / "config.json").write_text(json.dumps({**settings, "license": "mit"}))
    run("convert", "./story", "story.gguf", "--to", "gguf")
    blob = tmp_path / "models" / "blobs" / f"sha256-{'ab' * 32}"
    manifest = tmp_path / "models" / "manifests" / "registry.ollama.ai" / "library" / "story" / "latest"
    snapshot = tmp_path / "hub" / "models--owner--story-GGUF" / "snapshots" / ("1" * 40)
    for folder in (blob.parent, manifest.parent, snapshot, snapshot.parents[1] / "refs"):
        folder.mkdir(parents=True)
    (tmp_path / "story.gguf").rename(blob)  # without an ending, as ollama keeps it
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{'ab' * 32}"}
    manifest.write_text(json.dumps({"layers": [layer]}))
    os.link(blob, snapshot / "story.gguf")
    (snapshot.parents[1] / "refs" / "main").write_text("1" * 40)
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for name, store in {"story:latest": "ollama", "owner/story-GGUF": "hub"}.items():
        facts = info(run, name)
        assert (facts["name"], facts["from"], facts["licence"]) == (name, store, "mit")
        assert facts["chat_template"] is info(run)["chat_template"]
    assert [line.split()[:2] for line in run("list").splitlines()[1:]] == [
        ["fable-6m", "(default)"],
        ["owner/story-GGUF", "hub"],
        ["story:latest", "ollama"],
    ]
    assert greedy("story") == greedy("owner/story-GGUF") == greedy("fable-6m")


def greedy(name):
    from gencli import Preset, load, run
    from gencli.events import Token

    preset = Preset.load("greedy").with_default("max_new_tokens", 8)
    return [event.id for event in run(load(name), "Once upon a time", preset) if isinstance(event, Token)]


def test_pull_prints_the_name_and_a_person_sees_how_far_it_is(run, fable, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("TERM", "xterm")
    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.repos["owner/name"] = {name: (fable / name).read_bytes() for name in ("config.json", "model.safetensors")}
        hub.pause = 0.35  # before each answer: long enough for a bar
        with terminal(2, columns=90) as screen:
            assert run("pull", "owner/name") == "owner/name\n"
            seen = screen.read()
        hub.pause = 0
        assert re.search(r"\r(fetching|checking) model.safetensors \([\d.]+ MB\) █+[^\r]* \d+ %", seen)
        assert f"fetched; they lie in {tmp_path}/hub/models--owner--name/snapshots/" in seen
        assert info(run, "owner/name")["from"] == "hub"
        with pytest.raises(UsageError, match="has no owner/other"):
            run("pull", "owner/other")


def test_check_ends_with_the_name_of_a_damaged_tensor(run, fable, tmp_path):
    shutil.copytree(fable, tmp_path / "broken")
    data = bytearray((tmp_path / "broken" / "model.safetensors").read_bytes())
    data[-2:] = b"\x00\x7c"  # float16's infinity, the last number of the last tensor
    (tmp_path / "broken" / "model.safetensors").write_bytes(data)
    with pytest.raises(RunError, match=r"broken is damaged: tensor 'model\.[a-z_.0-9]+' holds 1 numbers that are not finite"):
        run("check", "./broken")
    assert run("check") == "fable-6m is whole: 56 tensors, 5,573,888 numbers, all of them finite.\n"
