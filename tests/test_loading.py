"""From a name or a path to a session: where checkpoints are found, what is put together, what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from gencli import loading
from gencli.catalogue import DEFAULT_CHECKPOINT
from gencli.errors import RunError, UsageError
from gencli.formats import Header, open_checkpoint
from gencli.loading import Session, load, session_from
from gencli.progress import Progress
from gencli.terminal import Messages
from streams import terminal


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of checkpoints that is empty, whoever runs the tests."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "gencli" / "checkpoints"


@pytest.fixture
def copy(fable: Path, tmp_path: Path) -> Path:
    """The embedded checkpoint's files, to be changed."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in fable.iterdir():
        if file.suffix in (".json", ".safetensors"):
            shutil.copy(file, folder)
    return folder


def change(file: Path, **values: Any) -> None:
    """Set or (None) remove settings in a JSON file."""
    settings = {**json.loads(file.read_text()), **values}
    file.write_text(json.dumps({key: value for key, value in settings.items() if value is not None}))


def greedy(session: Session, prompt: list[int], count: int, **settings: Any) -> list[int]:
    decoder = session.decoder(room=len(prompt) + count, **settings)
    logits = decoder.prefill(prompt)
    assert logits is not None
    ids: list[int] = []
    while len(ids) < count:
        ids.append(int(logits.argmax()))
        logits = decoder.step(ids[-1:])
    return ids


def test_the_embedded_checkpoint_is_the_default() -> None:
    session = load()
    assert session.name == DEFAULT_CHECKPOINT
    assert (session.device, session.precision, session.context) == ("cpu", "float32", 512)
    vocabulary = session.vocabulary
    assert vocabulary.size == session.model.vocab_size == len(vocabulary.token_bytes) == 4096
    assert vocabulary.end_ids == {0, 1}
    assert vocabulary.special_ids == {0, 1, 2}
    ids = vocabulary.encode("Once upon a time")
    assert b"".join(vocabulary.token_bytes[each] for each in ids) == b"Once upon a time"
    assert session.bytes == (session.path / "model.safetensors").stat().st_size


def test_greedy_decoding_is_that_of_the_reference(real_data: Path) -> None:
    session = load(str(real_data / "stories260k"))
    ids = greedy(session, list(session.tokenizer.start_ids), 200)
    text = b"".join(session.vocabulary.token_bytes[each] for each in ids).decode()
    assert text.removeprefix(" ") == (real_data / "stories260k" / "greedy.txt").read_text().removesuffix("\n")
    assert greedy(session, list(session.tokenizer.start_ids), 30, cache=False) == ids[:30]


def test_float16_changes_nothing_that_is_stored_in_float16(fable: Path) -> None:
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("this processor has no FBGEMM")
    ids = torch.arange(20)[None]
    exact, half = (session_from(fable, precision=precision) for precision in ("float32", "float16"))
    torch.testing.assert_close(half.model(ids), exact.model(ids), atol=1e-4, rtol=0)
    assert half.precision == "float16"


def test_auto_is_float16_where_a_large_model_gains_by_it(fable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert session_from(fable).precision == "float32"
    monkeypatch.setattr(loading, "WORTH_PACKING", 1 << 20)
    on_x86 = "fbgemm" in torch.backends.quantized.supported_engines
    assert session_from(fable).precision == ("float16" if on_x86 else "float32")


@pytest.mark.parametrize(("dtype", "means"), [("F32", "float16"), ("F16", "float16"), ("BF16", "bfloat16")])
def test_auto_on_a_gpu_is_what_the_file_has_in_two_bytes(monkeypatch: pytest.MonkeyPatch, fable: Path, dtype: str, means: str) -> None:
    monkeypatch.setattr(loading, "WORTH_PACKING", 1 << 20)
    checkpoint = open_checkpoint(fable)
    headers = {name: Header("F32" if len(shape) == 1 else dtype, shape) for name, (_, shape) in checkpoint.headers.items()}
    monkeypatch.setattr(type(checkpoint), "headers", headers)
    for device in ("cuda", "mps"):
        assert loading._fastest_lossless(device, checkpoint) == means


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"precision": "float61"}, r"no precision 'float61'. Did you mean 'float16'\? Choices: auto, bfloat16, float16, float32, int8"),
        ({"device": "cpo"}, r"no device 'cpo'. Did you mean 'cpu'\? Choices: auto, cpu, cuda, mps"),
        ({"threads": 0}, "threads must be a whole number from 1"),
        ({"threads": 10**9}, "threads must be a whole number from 1"),
        ({"threads": True}, "threads must be a whole number from 1"),
    ],
)
def test_unknown_settings_list_the_choices(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        load(**settings)


def test_devices_and_threads() -> None:
    before = torch.get_num_threads()
    try:
        session = load(device="auto", threads=2)
        assert torch.get_num_threads() == 2
        assert session.device == ("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
    finally:
        torch.set_num_threads(before)
    for device, there in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())):
        if not there:
            with pytest.raises(UsageError, match=f"no device '{device}' on this machine"):
                load(device=device)


def test_auto_takes_the_gpu_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert loading._resolve_device("auto") == "mps"
    with pytest.raises(UsageError, match=r"no device 'cuda' on this machine.* Choices: auto, cpu, mps"):
        loading._resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert loading._resolve_device("auto") == "cuda"


@pytest.mark.parametrize(
    ("generation", "config", "token", "ends"),
    [
        ([5, 7], 3, "<|user|>", {5, 7}),
        (5, 3, "<|user|>", {5}),
        (None, 3, "<|user|>", {3}),
        (None, [3, 4], None, {3, 4}),
        (None, None, "<|user|>", {1}),
        (None, None, {"content": "<|assistant|>"}, {2}),
        (None, None, "no special token", set()),
        (None, None, None, set()),
    ],
)
def test_end_tokens_by_precedence(copy: Path, generation: Any, config: Any, token: Any, ends: set[int]) -> None:
    change(copy / "generation_config.json", eos_token_id=generation)
    change(copy / "config.json", eos_token_id=config)
    change(copy / "tokenizer_config.json", eos_token=token)
    assert session_from(copy).vocabulary.end_ids == ends


@pytest.mark.parametrize("ids", [-1, 4096, "2", [0, None], True, {"a": 1}])
def test_end_tokens_that_cannot_be(copy: Path, ids: Any) -> None:
    change(copy / "generation_config.json", eos_token_id=ids)
    with pytest.raises(RunError, match=r"generation_config.json: eos_token_id must be token ids from 0 to 4095"):
        session_from(copy)


def rewritten(folder: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_a_model_with_more_rows_than_tokens(copy: Path) -> None:
    def pad(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.embed_tokens.weight"] = torch.nn.functional.pad(tensors["model.embed_tokens.weight"], (0, 0, 0, 4))

    change(rewritten(copy, pad) / "config.json", vocab_size=4100)
    vocabulary = session_from(copy).vocabulary
    assert (vocabulary.size, len(vocabulary.token_bytes), list(vocabulary.token_bytes[-4:])) == (4100, 4100, [b""] * 4)


def test_a_tokenizer_with_more_tokens_than_rows(copy: Path) -> None:
    def cut(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"][:4000].contiguous()

    change(rewritten(copy, cut) / "config.json", vocab_size=4000)
    with pytest.raises(RunError, match=r"the tokenizer of .* has 4096 tokens, its model 4000"):
        session_from(copy)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a missing tensor": (lambda f: rewritten(f, lambda t: t.pop("model.norm.weight")), "lacks the tensor model.norm.weight"),
    "an unexpected tensor": (lambda f: rewritten(f, lambda t: t.update(extra=torch.zeros(1))), "does not account for: 'extra'"),
    "another width": (lambda f: change(f / "config.json", intermediate_size=865), "has the shape .* asks for"),
    "another vocabulary": (lambda f: change(f / "config.json", vocab_size=2**31), r"embed_tokens.weight' has the shape \[4096, 256\]"),
    "more layers": (lambda f: change(f / "config.json", num_hidden_layers=4096), "lacks the tensor model.layers.6"),
    "another architecture": (lambda f: change(f / "config.json", architectures=["LlamaForCausalLN"]), "nearest is LlamaForCausalLM"),
    "a config that is text": (lambda f: (f / "config.json").write_text('"x"'), "config.json is damaged"),
    "a config that is nested": (lambda f: (f / "config.json").write_text("[" * 10**6), "config.json is damaged: its brackets"),
    "weights cut off": (lambda f: os.truncate(rewritten(f, lambda t: None) / "model.safetensors", 10**6), "cut off"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "is no checkpoint"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer"),
    "weights that are a folder": (lambda f: ((f / "model.safetensors").unlink(), (f / "model.safetensors").mkdir()), "is not a file"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_checkpoint_is_told_in_a_sentence(copy: Path, kind: str) -> None:
    damage, says = DAMAGES[kind]
    damage(copy)
    with pytest.raises(RunError, match=says) as caught:
        load(str(copy))
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)


def test_a_file_instead_of_a_folder(copy: Path) -> None:
    with pytest.raises(RunError, match="is no checkpoint"):
        load(str(copy / "model.safetensors"))


def test_finding_needs_no_torch() -> None:
    program = """
import sys
from gencli.catalogue import checkpoint_names, find_checkpoint
from gencli.formats import open_checkpoint
from gencli.models import family
checkpoint_names()
checkpoint = open_checkpoint(find_checkpoint())
print(len(checkpoint.headers), family(checkpoint.config).describe(checkpoint.config).cache_bytes, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.split() == ["56", str(2 * 6 * 4 * 64 * 4), "False"]


def test_loading_tells_how_far_it_is_to_a_person_who_waits(fable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []
    session_from(fable, told=shares.append)
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert 0.9 < shares[-1] < 1  # the last tensor is still to be put in its place
    monkeypatch.setenv("TERM", "xterm")
    clock = iter(range(1000))  # a second a look
    with terminal(2, columns=70) as screen:
        progress = Progress(Messages(), lambda: next(clock), soonest=1.5)
        session_from(fable, told=lambda share: progress.share("loading the checkpoint", share))
        progress.clear()
        seen = screen.read().split("\r")
    assert seen[1].startswith("loading the checkpoint")
    bars = [int(match[1]) for line in seen if (match := re.search(r" (\d+) %", line))]
    assert len(bars) > 10
    assert bars == sorted(bars)
    assert seen[-1] == "\x1b[K"
