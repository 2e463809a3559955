"""llama.cpp loads the GGUF files that are written here, cuts the same tokens and writes the same text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from architectures import random_checkpoint, readable
from gencli.conversion import convert
from gencli.formats import open_checkpoint
from gencli.loading import session_from
from weights import logits, random_folder

pytestmark = pytest.mark.peers

TEXT = 'Once upon a time,\n\n  Tom said: "he\'ll run 12345 times" — ünd  so'


@pytest.fixture
def peer() -> Callable[..., Any]:
    """A context in which a file is open in llama.cpp; its memory goes back at the end."""
    llama_cpp = pytest.importorskip("llama_cpp")

    @contextmanager
    def opened(file: Path, context: int) -> Iterator[Any]:
        model = llama_cpp.Llama(str(file), n_ctx=context, n_threads=1, n_threads_batch=1, verbose=False)
        try:
            yield model
        finally:
            model.close()

    return opened


def written(source: Path, file: Path, precision: str) -> Path:
    convert(open_checkpoint(source), file, "gguf", precision)
    return file


def last_row(model: Any) -> Any:
    import llama_cpp
    import numpy as np

    return np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(model.ctx, -1), shape=(model.n_vocab(),)).copy()


def greedy(model: Any, ids: list[int], count: int) -> list[int]:
    """The likeliest tokens by llama.cpp's own logits."""
    model.reset()
    model.eval(ids)
    found: list[int] = []
    while len(found) < count:
        found.append(int(last_row(model).argmax()))
        model.eval(found[-1:])
    return found


def ours(path: Path, ids: list[int], count: int) -> list[int]:
    decoder = session_from(path).decoder(room=len(ids) + count + 1)
    row, found = decoder.prefill(ids), []
    while len(found) < count:
        found.append(int(row.argmax()))
        row = decoder.step(found[-1:])
    return found


def test_the_story_of_stories260k(real_data: Path, tmp_path: Path, peer: Callable[..., Any]) -> None:
    file = written(real_data / "stories260k", tmp_path / "x.gguf", "float32")
    wanted = (real_data / "stories260k" / "greedy.txt").read_text().removesuffix("\n")
    with peer(file, 512) as model:
        ids = greedy(model, [1], 200)
        assert model.detokenize(ids).decode().removeprefix(" ") == wanted
        assert model.tokenize(TEXT.encode(), add_bos=True) == [1, *session_from(file).tokenizer.encode(TEXT)]


@pytest.mark.parametrize("precision", ["float32", "float16", "q8_0"])
def test_the_embedded_checkpoint(fable: Path, tmp_path: Path, peer: Callable[..., Any], precision: str) -> None:
    file = written(fable, tmp_path / "x.gguf", precision)
    prompt = session_from(file).tokenizer.encode(TEXT)
    with peer(file, 256) as model:
        assert model.tokenize(TEXT.encode(), add_bos=False) == prompt
        # llama.cpp rounds activations in products with 8-bit weights: a near draw may fall otherwise later on
        count = 100 if precision != "q8_0" else 8
        assert greedy(model, prompt, count) == ours(file, prompt, count)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("llama", {"tie_word_embeddings": False, "num_key_value_heads": 1}),
        ("llama", {"head_dim": 24, "rope_theta": 500.0}),
        ("gpt2", {}),
    ],
)
def test_random_models(fable: Path, tmp_path: Path, peer: Callable[..., Any], kind: str, settings: dict[str, Any]) -> None:
    file = written(random_folder(tmp_path / "folder", fable, kind, **settings), tmp_path / "x.gguf", "float32")
    with peer(file, 128) as model:
        assert greedy(model, [5, 6, 7], 24) == ours(tmp_path / "folder", [5, 6, 7], 24)


def test_a_gguf_file_made_anew_from_a_gguf_file(fable: Path, tmp_path: Path, peer: Callable[..., Any]) -> None:
    again = written(written(fable, tmp_path / "x.gguf", "float16"), tmp_path / "y.gguf", "float32")
    with peer(again, 64) as model:
        assert greedy(model, [300, 301], 20) == ours(fable, [300, 301], 20)


@pytest.mark.parametrize("model_type", readable())
def test_every_architecture_gives_llama_cpps_logits(fable: Path, tmp_path: Path, peer: Callable[..., Any], model_type: str) -> None:
    folder = random_checkpoint(tmp_path / "folder", model_type, fable)
    wanted = logits(folder)[0, -1]
    with peer(written(folder, tmp_path / "x.gguf", "float32"), 128) as model:
        model.eval([(7 + at) * 5 % 4096 for at in range(12)])
        # its cache of keys and values is float16
        torch.testing.assert_close(torch.from_numpy(last_row(model)), wanted, atol=0.02, rtol=0)
    assert wanted.std() > 0.3
