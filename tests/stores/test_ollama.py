"""ollama's models, found by their manifests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gencli.errors import RunError
from gencli.stores import ollama
from gencli.stores.ollama import MODEL, Ollama

DIGEST = "ab" * 32


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def put(models: Path, name: str, digest: object = f"sha256:{DIGEST}", kind: str = MODEL) -> Path:
    """A model as ollama lays it out: a manifest at HOST/NAMESPACE/NAME/TAG, and a blob."""
    manifest = models / "manifests" / name
    manifest.parent.mkdir(parents=True, exist_ok=True)
    other = {"mediaType": "application/vnd.ollama.image.params", "digest": "sha256:" + "0" * 64}
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": [other, {"mediaType": kind, "digest": digest, "size": 4}]}))
    blob = models / "blobs" / f"sha256-{DIGEST}"
    blob.parent.mkdir(exist_ok=True)
    blob.write_bytes(b"GGUF")
    return blob


def test_names_are_those_that_ollama_lists(models):
    blob = put(models, "registry.ollama.ai/library/llama3.2/1b")
    put(models, "registry.ollama.ai/library/llama3.2/latest")
    put(models, "registry.ollama.ai/somebody/story/latest")
    put(models, "hf.co/owner/name-GGUF/Q4_K_M")
    assert dict(Ollama().entries()) == dict.fromkeys(
        ("hf.co/owner/name-GGUF:Q4_K_M", "llama3.2:1b", "llama3.2:latest", "somebody/story:latest"), blob
    )
    find = Ollama().find
    assert find("llama3.2:1b") == find("llama3.2") == find("somebody/story") == find("hf.co/owner/name-GGUF:Q4_K_M") == blob
    assert find("llama3.2:70b") is find("story") is find("") is find("../x") is None


@pytest.mark.parametrize(
    ("digest", "kind", "says"),
    [
        (f"sha256:{'cd' * 32}", MODEL, "which is not there"),
        ("sha256:../../../../etc/passwd", MODEL, "is damaged: the digest"),
        (7, MODEL, "is damaged: the digest"),
        (f"sha256:{DIGEST}", "application/vnd.ollama.image.template", "names no model"),
    ],
)
def test_a_damaged_manifest_is_told_where_it_is_asked_for_and_hides_no_other(models, digest, kind, says):
    put(models, "registry.ollama.ai/library/good/latest")
    put(models, "registry.ollama.ai/library/bad/latest", digest, kind)
    assert [name for name, _ in Ollama().entries()] == ["good:latest"]
    with pytest.raises(RunError, match=says):
        Ollama().find("bad")


def test_without_the_variable_it_is_the_home_folder_and_the_service(tmp_path, monkeypatch):
    monkeypatch.delenv("OLLAMA_MODELS")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(ollama, "SERVICE", str(tmp_path / "service"))
    own = put(tmp_path / ".ollama" / "models", "registry.ollama.ai/library/mine/latest")
    service = put(tmp_path / "service", "registry.ollama.ai/library/theirs/latest")
    assert dict(Ollama().entries()) == {"mine:latest": own, "theirs:latest": service}
