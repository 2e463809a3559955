"""Pulling from a hub: what is fetched, where it lies afterwards, what resumes, and what a bad hub cannot do."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from gencli.catalogue import find_checkpoint
from gencli.errors import RunError, UsageError
from gencli.interrupts import Interrupted
from gencli.loading import load
from gencli.pulling import needed, pull
from gencli.stores.hub import Hub, folder
from hub_server import COMMIT, HubServer, digest_of, serving

LLAMA = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIG = json.dumps({"architectures": ["LlamaForCausalLM"], **LLAMA}).encode()
WEIGHTS = random.Random(1).randbytes(300_000)
MODEL = {"config.json": CONFIG, "tokenizer.json": b"{}", "model.safetensors": WEIGHTS}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A hub that holds owner/name, and an empty cache."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with serving() as server:
        server.repos["owner/name"] = dict(MODEL)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def held(repo: str = "owner/name") -> dict[str, bytes]:
    """The files that the cache gives a name."""
    snapshot = folder() / f"models--{repo.replace('/', '--')}" / "snapshots" / COMMIT
    return {file.relative_to(snapshot).as_posix(): file.read_bytes() for file in snapshot.rglob("*") if file.is_file()}


def blobs(ending: str = "") -> list[Path]:
    return sorted(folder().glob(f"models--owner--name/blobs/*{ending}"))


def test_a_checkpoint_comes_whole_and_runs(hub: HubServer, fable: Path) -> None:
    files = {file.name: file.read_bytes() for file in fable.iterdir() if file.suffix != ".svg"}
    clutter = {"pytorch_model.bin": b"x" * 2000, "onnx/model.onnx": b"x", "onnx/config.json": b"x", "training_args.bin": b"x", "a.png": b""}
    hub.repos["owner/name"] = {**files, **clutter}
    told = []
    pulled = pull("owner/name", told=lambda *each: told.append(each))
    assert held() == files
    assert pulled == ("owner/name", find_checkpoint("owner/name"), len(files), sum(map(len, files.values())))
    assert load("owner/name").name == "owner/name"
    doing, done, total = told[-1]
    assert (doing, done, total) == ("checking model.safetensors", total, pulled.fetched)
    # the weights come last: nobody waits for them in vain
    fetched = [path.rpartition("/")[2] for _, path, _ in hub.seen if "/resolve/" in path]
    assert (fetched[0], fetched[-1]) == ("config.json", "model.safetensors")
    # one list, and every file once: nothing else is asked or told
    assert [path for _, path, _ in hub.seen if "/resolve/" not in path] == ["/api/models/owner/name/revision/main"]
    assert len(hub.seen) == 1 + len(files)


def test_huggingface_hub_finds_what_was_pulled_and_the_other_way_round(hub: HubServer, tmp_path: Path) -> None:
    from huggingface_hub import hf_hub_download, scan_cache_dir, try_to_load_from_cache

    pulled = pull("owner/name")
    for name in MODEL:
        assert try_to_load_from_cache("owner/name", name, cache_dir=folder()) == str(pulled.path / name)
    scanned = scan_cache_dir(folder())
    assert not scanned.warnings
    assert {(repo.repo_id, repo.nb_files, repo.size_on_disk) for repo in scanned.repos} == {
        ("owner/name", 3, sum(map(len, MODEL.values())))
    }
    hub.repos["owner/theirs"] = dict(MODEL)
    for name in MODEL:
        theirs = hf_hub_download("owner/theirs", name, cache_dir=folder(), endpoint=hub.url)
    assert Hub().find("owner/theirs") == Path(theirs).parent
    asked = len(hub.asked("GET"))
    assert pull("owner/theirs").fetched == 0  # what they fetched is not fetched again
    assert len(hub.asked("GET")) == asked + 1


def test_what_is_there_is_not_fetched_again(hub: HubServer) -> None:
    pull("owner/name")
    hub.seen.clear()
    assert pull("owner/name").fetched == 0
    assert [path for _, path, _ in hub.seen] == ["/api/models/owner/name/revision/main"]
    hub.repos["owner/name"]["tokenizer.json"] = b'{"changed": 1}'
    hub.revisions["main"] = second = "d" * 40
    hub.revisions[second] = second
    assert pull("owner/name").fetched == len(b'{"changed": 1}')
    assert Hub().find("owner/name") == folder() / "models--owner--name" / "snapshots" / second
    assert Hub().find(f"owner/name@{COMMIT}") is not None


def test_revisions_have_names(hub: HubServer) -> None:
    hub.revisions["v1.0"] = COMMIT
    assert pull("owner/name@v1.0").name == "owner/name@v1.0"
    assert Hub().find("owner/name@v1.0") is not None
    assert Hub().find("owner/name") is None
    assert pull(f"owner/name@{COMMIT}").fetched == 0
    assert [file.name for file in (folder() / "models--owner--name" / "refs").iterdir()] == ["v1.0"]
    with pytest.raises(UsageError, match=r"owner/name has no such revision; its branches and tags stand at http://127"):
        pull("owner/name@v2")


def test_a_connection_that_breaks_is_taken_up_again(hub: HubServer) -> None:
    big = random.Random(2).randbytes(15 << 20)
    hub.repos["owner/name"]["model.safetensors"] = big
    hub.cut = [12 << 20]
    pull("owner/name")
    assert held()["model.safetensors"] == big
    assert hub.asked("GET", "/model.safetensors")[1]["Range"] == f"bytes={10 << 20}-"  # huggingface_hub writes 10 MB at a time


@pytest.mark.parametrize("ranges", [True, False])
def test_a_pull_that_was_ended_goes_on_where_it_was(hub: HubServer, ranges: bool) -> None:
    big = random.Random(2).randbytes(25 << 20)  # huggingface_hub reads 10 MB at a time
    hub.repos["owner/name"]["model.safetensors"] = big

    def impatient(doing: str, done: int, total: int) -> None:
        if done > 15 << 20:
            raise Interrupted(2)

    with pytest.raises(Interrupted):
        pull("owner/name", told=impatient)
    (partly,) = blobs(".incomplete")
    size = partly.stat().st_size
    assert 10 << 20 <= size < len(big)
    assert Hub().find("owner/name") is None  # not whole, so it has no name
    hub.ranges = ranges
    pulled = pull("owner/name")
    assert held()["model.safetensors"] == big
    assert blobs(".incomplete") == []
    assert hub.asked("GET", "/model.safetensors")[-1]["Range"] == f"bytes={size}-"
    assert pulled.fetched == len(big) - size


def test_what_is_damaged_on_the_way_is_thrown_away(hub: HubServer) -> None:
    blob = folder() / "models--owner--name" / "blobs" / f"{digest_of(WEIGHTS)}.incomplete"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"x" * 1000)
    with pytest.raises(RunError, match=r"'model.safetensors' is not what the hub says it is: its digest differs. It was thrown away"):
        pull("owner/name")
    assert Hub().find("owner/name") is None
    pull("owner/name")
    assert held() == MODEL
    blob.write_bytes(b"x" * (len(WEIGHTS) + 1))  # longer than the file: of no use
    blob.with_suffix("").unlink()
    pull("owner/name")
    assert held() == MODEL


def test_two_pulls_do_not_write_one_file(hub: HubServer) -> None:
    import fcntl

    blob = folder() / "models--owner--name" / "blobs" / f"{digest_of(CONFIG)}.incomplete"
    blob.parent.mkdir(parents=True)
    with open(blob, "wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RunError, match=r"another process is fetching 'config.json' at this moment"):
            pull("owner/name")


def test_a_hub_whose_list_tells_little_is_asked_file_by_file(hub: HubServer) -> None:
    hub.change = lambda entry: {"rfilename": entry["rfilename"]}
    pull("owner/name")
    assert held() == MODEL
    assert len(hub.asked("HEAD")) == len(MODEL)


def test_the_token_goes_to_the_hub_and_nowhere_else(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serving() as storage:
        storage.repos["owner/name"] = dict(MODEL)
        hub.answer = lambda handler: "/resolve/" in handler.path and not handler.say(302, b"", {"Location": storage.url + handler.path})
        pull("owner/name")
        assert held() == MODEL
        assert {headers.get("Authorization") or headers.get("authorization") for _, _, headers in hub.seen} == {"Bearer hf_secret"}
        assert storage.seen
        assert not any("hf_secret" in value for _, _, headers in storage.seen for value in headers.values())


@pytest.mark.parametrize(
    ("status", "code", "kind", "says"),
    [
        (401, "RepoNotFound", UsageError, "has no owner/name, or shows it only to those it knows: check the name, or say who you are"),
        (404, "", UsageError, "has no owner/name"),
        (403, "GatedRepo", RunError, "owner/name is gated: ask for access at http://127.0.0.1:"),
        (403, "", RunError, "does not let you have owner/name"),
        (429, "", RunError, "was asked too often; wait some minutes"),
        (500, "", RunError, "answered with status 500"),
    ],
)
def test_a_refusal_is_a_sentence(hub: HubServer, status, code, kind, says) -> None:
    hub.answer = lambda handler: not handler.refuse(status, code)
    with pytest.raises(kind) as caught:
        pull("owner/name")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not folder().exists()


def test_a_gate_before_the_weights_is_told_too(hub: HubServer) -> None:
    hub.answer = lambda handler: "/resolve/" in handler.path and not handler.refuse(403, "GatedRepo")
    with pytest.raises(RunError, match="is gated"):
        pull("owner/name")


def test_no_network_is_a_sentence(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1/")
    with pytest.raises(RunError, match=r"http://127.0.0.1:1 cannot be reached: .*\. What was fetched is kept"):
        pull("owner/name")


def test_offline_nothing_is_asked(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(RunError, match="HF_HUB_OFFLINE is set, so nothing is fetched"):
        pull("owner/name")
    assert hub.seen == []


@pytest.mark.parametrize("word", ["", "a/b/c", "../x", "https://huggingface.co/owner/name", "owner/name@..", "a b"])
def test_what_is_no_name_is_not_asked_for(hub: HubServer, word) -> None:
    with pytest.raises(UsageError, match="is no name of the hub's; one looks like owner/name"):
        pull(word)
    assert hub.seen == []


def test_a_model_that_cannot_run_is_not_fetched(hub: HubServer) -> None:
    hub.repos["owner/name"]["config.json"] = b'{"architectures": ["BertModel"]}'
    with pytest.raises(RunError, match=r"owner/name cannot be run by gencli, so its weights are not fetched: .*'BertModel' is not known"):
        pull("owner/name")
    assert hub.asked("GET", "/model.safetensors") == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rfilename": "../../../evil.gguf"}, "lists a file '../../../evil.gguf', which would not lie in its folder"),
        ({"rfilename": "/tmp/evil.gguf"}, "which would not lie in its folder"),
        ({"rfilename": "sub/../../evil.gguf"}, "which would not lie in its folder"),
        ({"rfilename": "evil\x1b[2J.gguf"}, "which would not lie in its folder"),
        ({"lfs": {"sha256": "../../../evil", "size": 5, "pointerSize": 1}}, "the digest '../../../evil', which cannot be"),
        ({"lfs": {"sha256": "ab" * 32, "size": -5, "pointerSize": 1}}, "the size -5 and the digest"),
        ({"lfs": {"sha256": "ab" * 32, "size": "5", "pointerSize": 1}}, "the size '5' and the digest"),
        ({"lfs": {"sha256": "ab" * 32, "size": 10**18, "pointerSize": 1}}, r"1e+06 TB are to be fetched, and the disk of"),
        ({"lfs": 7}, "is no list of files"),
        ({"rfilename": 7}, "holds no weights that gencli reads"),
    ],
)
def test_a_hub_cannot_write_elsewhere(hub: HubServer, tmp_path: Path, change, says) -> None:
    hub.repos["owner/name"] = {"weights.gguf": WEIGHTS}
    hub.change = lambda entry: {**entry, **change}
    with pytest.raises((RunError, UsageError)) as caught:
        pull("owner/name")
    assert says in str(caught.value)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


@pytest.mark.parametrize("commit", ["../../../evil", "", None, 7, "c0ffee"])
def test_a_commit_that_is_none_is_refused(hub: HubServer, tmp_path: Path, commit) -> None:
    hub.revisions["main"] = commit
    with pytest.raises(RunError, match="which is none; nothing was fetched"):
        pull("owner/name")
    assert not folder().exists()


@pytest.mark.parametrize("body", [b"", b"<html>login</html>", b"[]", b'{"siblings": 7}', b'{"siblings": [{}]}', b"[" * 100_000])
def test_what_is_no_hub_is_told(hub: HubServer, body) -> None:
    hub.answer = lambda handler: not handler.say(200, body)
    with pytest.raises(RunError, match=r"no hub|is at the commit None"):
        pull("owner/name")


@pytest.mark.parametrize("where", ["/api/", "/resolve/"])
def test_an_endless_redirect_ends(hub: HubServer, where) -> None:
    hub.answer = lambda handler: where in handler.path and not handler.say(302, b"", {"Location": handler.path})
    with pytest.raises(RunError, match="sends from one address to the next without end"):
        pull("owner/name")


def test_a_file_that_never_ends_is_cut_off(hub: HubServer) -> None:
    def endless(handler) -> bool:
        if not handler.path.endswith("/model.safetensors"):
            return False
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        chunk = b"x" * (1 << 20)
        try:
            while True:
                handler.wfile.write(b"%x\r\n" % len(chunk) + chunk + b"\r\n")
        except OSError:
            handler.close_connection = True
        return True

    hub.answer = endless
    with pytest.raises(RunError, match=r"'model.safetensors' is longer than the 300 kB that the hub says it has. It was thrown away"):
        pull("owner/name")
    assert blobs(".incomplete") == []


def test_a_file_that_is_too_short_is_told(hub: HubServer) -> None:
    hub.answer = lambda handler: handler.path.endswith("/model.safetensors") and not handler.say(200, WEIGHTS[:1000])
    with pytest.raises(RunError, match=r"sent a file of owner/name shorter than it says"):
        pull("owner/name")
    assert Hub().find("owner/name") is None


def test_a_disk_that_fills_up_is_a_sentence(hub: HubServer) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(RunError, match=r"the disk is full: .* HF_HUB_CACHE names another place"):
            pull("owner/name")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    pull("owner/name")
    assert held() == MODEL


def test_a_cache_that_cannot_be_written_is_a_sentence(hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(RunError, match="the cache of the hub cannot be written: Not a directory"):
        pull("owner/name")


def test_one_of_many_gguf_files_is_chosen(hub: HubServer) -> None:
    files = {"README.md": b"x", "m-Q4_K_M.gguf": b"4" * 2000, "m-Q8_0.gguf": b"8" * 3000}
    parts = {f"big/m-F16-0000{part}-of-00002.gguf": b"%d" % part for part in (1, 2)}
    hub.repos["owner/name"] = {**files, **parts}
    with pytest.raises(
        UsageError, match=r"choose one with --file. Choices: big/m-F16-00001-of-00002.gguf \(2 bytes\), m-Q4_K_M.gguf \(2 kB"
    ):
        pull("owner/name")
    assert pull("owner/name", "q8").name == "owner/name/m-Q8_0.gguf"
    assert held() == {name: files[name] for name in ("README.md", "m-Q8_0.gguf")}
    assert Hub().find("owner/name") == Hub().find("owner/name/m-Q8_0.gguf") is not None
    assert pull("owner/name/m-Q4_K_M.gguf").fetched == 2000
    pulled = pull("owner/name", "F16")
    assert pulled.name == "owner/name/big/m-F16-00001-of-00002.gguf"
    assert held() == {**files, **parts}
    assert Hub().find(pulled.name) == pulled.path / "big/m-F16-00001-of-00002.gguf"
    with pytest.raises(UsageError, match=r"Choices: big/m-F16-00001-of-00002.gguf, m-Q4_K_M.gguf, m-Q8_0.gguf"):
        pull("owner/name", "Q5")


BIN = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin", "pytorch_model.bin.index.json")
PARTS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json")


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["model.safetensors", "pytorch_model.bin", "m.gguf"], ["model.safetensors"]),
        (["model.safetensors", "consolidated.safetensors", "model.fp16.safetensors", "adapter_model.safetensors"], ["model.safetensors"]),
        ([*PARTS, *BIN], PARTS),
        ([*PARTS, "model.safetensors"], ["model.safetensors", "model.safetensors.index.json"][:1]),
        (BIN, BIN),
        (["pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "rust_model.ot"], ["pytorch_model.bin"]),
        (["m.gguf", "mmproj.bin"], ["m.gguf"]),
        (
            ["config.json", "tokenizer.model", "merges.txt", "x.tiktoken", "chat_template.jinja", "LICENSE", "sub/config.json", "m.gguf"],
            None,
        ),
    ],
)
def test_only_what_a_run_needs_is_wanted(names, wanted) -> None:
    expected = set(wanted if wanted is not None else [name for name in names if "/" not in name])
    assert needed("owner/name", dict.fromkeys(names, 1)) == expected


@pytest.mark.parametrize("names", [[], ["config.json"], ["tf_model.h5"], ["model-00001-of-00002.safetensors"], ["unet/model.safetensors"]])
def test_no_weights_are_told(names) -> None:
    with pytest.raises(RunError, match="owner/name holds no weights that gencli reads"):
        needed("owner/name", dict.fromkeys(names, 1))


def test_what_claims_to_be_a_tokenizer_is_not_fetched_at_any_size() -> None:
    sizes = {"tokenizer.json": 1 << 40, "config.json": 1, "model.safetensors": 1 << 40}
    assert needed("owner/name", sizes) == {"config.json", "model.safetensors"}


def test_the_environment_is_left_alone(hub: HubServer) -> None:
    before = dict(os.environ)
    pull("owner/name")
    assert dict(os.environ) == before
