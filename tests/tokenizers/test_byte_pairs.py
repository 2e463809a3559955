"""vocab.json and merges.txt without a tokenizer.json: the ids are those of transformers, whatever the files beside them say."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gencli.errors import RunError
from gencli.tokenizers import Tokenizer, encode_pieces, encode_prompt, load_tokenizer
from gencli.tokenizers._patterns import PATTERNS
from gencli.tokenizers.byte_level import ByteLevel
from tokenizing import ODD, TEXT, byte_level_json, cost_of_loading, drawn_strings, trained_merges

END = "<|endoftext|>"


def written(folder: Path, model: dict[str, Any], **files: Any) -> Path:
    """A folder with a model's vocab.json and merges.txt, and `NAME=value` as NAME.json."""
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(("#version: 0.2", *merges, "")), encoding="utf-8")
    for name, value in {"vocab": model["vocab"], **files}.items():
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    """A small vocabulary whose last token ends a text."""
    lines = [*Path(argparse.__file__).read_text().splitlines(keepends=True), *("".join(ODD[at:]) for at in range(len(ODD)))]
    model: dict[str, Any] = byte_level_json(trained_merges(lines, PATTERNS["gpt2"], 800))["model"]
    return {**model, "vocab": {**model["vocab"], END: len(model["vocab"])}}


def theirs(folder: Path, name: str) -> Any:
    import transformers

    return getattr(transformers, name).from_pretrained(folder)


def the_same(ours: Tokenizer, oracle: Any) -> None:
    """With special tokens, without them, and with what goes before a text."""
    texts = drawn_strings(400, [*ours.special, *(token.content for token in oracle.added_tokens_decoder.values())])
    assert [encode_pieces(ours, [(text, True)]) for text in texts] == oracle(texts, add_special_tokens=False)["input_ids"]
    assert ours.special == {token.content: id for id, token in oracle.added_tokens_decoder.items() if token.special}
    assert [encode_prompt(ours, [(text, True)]) for text in ("a b", "")] == [oracle(text)["input_ids"] for text in ("a b", "")]
    oracle.backend_tokenizer.encode_special_tokens = True
    expected = oracle.backend_tokenizer.encode_batch(texts, add_special_tokens=False)
    assert [ours.encode(text) for text in texts] == [each.ids for each in expected]


TOKEN = {"content": END, "single_word": False, "lstrip": False, "rstrip": False, "normalized": True}
FOLDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "two files alone": ("GPT2Tokenizer", {}),
    "as GPT-2 was published": (
        "GPT2Tokenizer",
        {
            "tokenizer_config": {"model_max_length": int(1e30), "bos_token": {**TOKEN, "__type": "AddedToken"}, "errors": "replace"},
            "special_tokens_map": dict.fromkeys(("bos_token", "eos_token", "unk_token"), TOKEN),
        },
    ),
    "added tokens, some of them special": (
        "GPT2Tokenizer",
        {
            "added_tokens": {"<|user|>": 1057, "<tool>": 1059, "<|pad|>": 1058},
            "special_tokens_map": {"pad_token": "<|pad|>"},
            "tokenizer_config": {"additional_special_tokens": ["<|user|>", "<|more|>"]},
        },
    ),
    "tokens that swallow spaces": (
        "GPT2Tokenizer",
        {
            "special_tokens_map": {"mask_token": {**TOKEN, "content": "<mask>", "lstrip": True, "normalized": False}, "eos_token": END},
            "added_tokens": {"<mask>": 1057},
            "tokenizer_config": {"tokenizer_class": "GPT2TokenizerFast", "sep_token": "the", "pad_token": None},
        },
    ),
    "named and numbered": (
        "GPT2Tokenizer",
        {
            "tokenizer_config": {
                "added_tokens_decoder": {
                    "1056": {**TOKEN, "special": True},
                    "1057": {**TOKEN, "content": "<mask>", "rstrip": True, "special": True},
                    "1058": {**TOKEN, "content": "<tool>", "single_word": True, "special": False},
                    "1059": {**TOKEN, "content": "[user]", "special": False},
                },
                "bos_token": "[user]",
                "extra_special_tokens": ["<a>", "<b>"],
                "image_token": "<image>",
            },
            "special_tokens_map": {"pad_token": "this file does not count beside the other's decoder"},
        },
    ),
    "a space before, and a token": ("GPT2Tokenizer", {"tokenizer_config": {"add_prefix_space": True, "add_bos_token": True}}),
    "a token before": ("GPT2Tokenizer", {"tokenizer_config": {"add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>"}}),
    "CodeGen": ("CodeGenTokenizer", {"tokenizer_config": {"tokenizer_class": "CodeGenTokenizer"}}),
    "GPT-NeoX": ("GPTNeoXTokenizer", {"tokenizer_config": {"pad_token": END}, "config": {"model_type": "gpt_neox"}}),
    "Qwen 2": (
        "Qwen2Tokenizer",
        {
            "tokenizer_config": {
                "tokenizer_class": "Qwen2Tokenizer",
                "added_tokens_decoder": {"1057": {**TOKEN, "content": "<|im_start|>", "normalized": False, "special": True}},
                "additional_special_tokens": ["<|im_start|>"],
            }
        },
    ),
    "Qwen 3": ("Qwen2Tokenizer", {"config": {"model_type": "qwen3"}}),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_the_ids_are_those_of_transformers(tmp_path: Path, small: dict[str, Any], kind: str) -> None:
    name, files = FOLDERS[kind]
    folder = written(tmp_path, small, **files)
    the_same(load_tokenizer(folder), theirs(folder, name))


def test_tokens_that_the_map_of_special_tokens_lists_are_special(tmp_path: Path, small: dict[str, Any]) -> None:
    """Also where added_tokens.json numbers them, which transformers 5 does not look for."""
    files = {"added_tokens": {"<|user|>": 1057}, "special_tokens_map": {"additional_special_tokens": ["<|user|>", {"content": "<|more|>"}]}}
    ours = load_tokenizer(written(tmp_path, small, **files))
    assert ours.special == {END: 1056, "<|user|>": 1057, "<|more|>": 1058}
    assert len(ours.encode("<|user|>")) > 1


def test_gpt2s_own_files_are_its_tokenizer_json(tmp_path: Path, real_data: Path, real_folder: Callable[[str], Path]) -> None:
    whole = load_tokenizer(real_folder("gpt2"))
    model = json.loads((real_folder("gpt2") / "tokenizer.json").read_text())["model"]
    ours = load_tokenizer(written(tmp_path, model))
    assert isinstance(ours, ByteLevel)
    assert (ours.size, ours.special, list(ours.token_bytes)) == (50_257, whole.special, list(whole.token_bytes))
    texts = drawn_strings(2000, [END])
    assert [ours.encode(text) for text in texts] == [whole.encode(text) for text in texts]
    the_same(ours, theirs(tmp_path, "GPT2Tokenizer"))


@given(text=TEXT)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text(qwen_like: tuple[Tokenizer, Any], text: str) -> None:
    ours, oracle = qwen_like
    assert encode_pieces(ours, [(text, True)]) == oracle(text, add_special_tokens=False)["input_ids"]


@pytest.fixture(scope="module")
def qwen_like(tmp_path_factory: pytest.TempPathFactory, small: dict[str, Any]) -> tuple[Tokenizer, Any]:
    folder = written(tmp_path_factory.mktemp("qwen"), small, **FOLDERS["Qwen 2"][1])
    return load_tokenizer(folder), theirs(folder, "Qwen2Tokenizer")


@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_any_tokens_beside_the_vocabulary(tmp_path_factory: pytest.TempPathFactory, small: dict[str, Any], data: st.DataObject) -> None:
    """Names, lists and added_tokens.json drawn by chance from a few texts, some of them in the vocabulary."""
    text = st.sampled_from(["<a>", "<b>", "<c>", END, "é", "<a><b>"])
    flags = st.fixed_dictionaries({flag: st.booleans() for flag in ("lstrip", "rstrip", "single_word", "normalized")})
    token = text | st.builds(lambda content, own: {"content": content, **own}, text, flags)
    names = st.dictionaries(st.sampled_from(["bos_token", "eos_token", "pad_token", "cls_token"]), token)
    listed = data.draw(st.lists(text.filter(lambda each: each not in small["vocab"]), unique=True, max_size=3))
    files = {
        "special_tokens_map": data.draw(names),
        "tokenizer_config": {"additional_special_tokens": data.draw(st.lists(text, unique=True, max_size=2))},
        "added_tokens": {content: len(small["vocab"]) + at for at, content in enumerate(listed)},
    }
    folder = written(tmp_path_factory.mktemp("any"), small, **files)
    ours, oracle = load_tokenizer(folder), theirs(folder, "GPT2Tokenizer")
    texts = drawn_strings(80, ["<a>", "<b>", "<c>", "the", END, "self", "<a><b>"])
    assert [encode_pieces(ours, [(text, True)]) for text in texts] == oracle(texts, add_special_tokens=False)["input_ids"]


DAMAGED: dict[str, tuple[dict[str, bytes], str]] = {
    "a merge of three": ({"merges.txt": b"#version: 0.2\na b\na b c\n"}, r"merges.txt is damaged: line 3 is no pair of tokens"),
    "a merge of one": ({"merges.txt": b"a \n"}, "line 1 is no pair"),
    "no text": ({"merges.txt": b"a b\n\xff\n"}, "not UTF-8 at byte 4"),
    "merges without end": ({"merges.txt": b"a b\n" * 300_001}, "more than 300,000 lines"),
    "a list": ({"vocab.json": b"[1]"}, "vocab.json is damaged"),
    "nested too deeply": (
        {"vocab.json": b'{"a":' * 100_000 + b"}" * 100_000},
        "vocab.json is damaged: it is nested too deeply|signs|more than",
    ),
    "ids that are text": ({"vocab.json": b'{"a": "0"}'}, "id is not a whole number"),
    "ids twice": ({"vocab.json": b'{"a": 0, "b": 0}'}, "the same id"),
    "an enormous id": ({"vocab.json": b'{"a": 99999999999999999999}'}, "outside 0 to"),
    "added tokens that are a list": ({"added_tokens.json": b"[]"}, "added_tokens.json is damaged"),
    "an added id that is text": (
        {"added_tokens.json": b'{"<a>": "1"}'},
        "added_tokens.json is damaged: a token's id is not a whole number",
    ),
    "a token that is a number": ({"special_tokens_map.json": b'{"bos_token": 5}'}, "5 is no special token"),
    "a decoder that is a list": ({"tokenizer_config.json": b'{"added_tokens_decoder": [1]}'}, "added_tokens_decoder does not describe"),
    "a decoder by names": ({"tokenizer_config.json": b'{"added_tokens_decoder": {"a": {"content": "a"}}}'}, "does not describe"),
    "a decoder of texts": ({"tokenizer_config.json": b'{"added_tokens_decoder": {"1": "a"}}'}, "does not describe"),
    "an endless id": ({"tokenizer_config.json": b'{"added_tokens_decoder": {"' + b"9" * 5000 + b'": {"content": "a"}}}'}, "does not"),
    "an id that is taken": ({"added_tokens.json": b'{"<a>": 3}'}, "have the same id"),
    "a class that is not known": (
        {"tokenizer_config.json": b'{"tokenizer_class": "CLIPTokenizer"}'},
        "'CLIPTokenizer', and without a tokenizer.json only",
    ),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_is_damaged_is_said_at_once(tmp_path: Path, small: dict[str, Any], kind: str) -> None:
    files, says = DAMAGED[kind]
    written(tmp_path, small)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    began = time.process_time()
    with pytest.raises(RunError, match=says) as caught:
        load_tokenizer(tmp_path)
    assert time.process_time() - began < 2
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


def test_one_file_of_the_two_is_no_tokenizer(tmp_path: Path, small: dict[str, Any]) -> None:
    (written(tmp_path, small) / "merges.txt").unlink()
    with pytest.raises(RunError, match=r"vocab.json with merges.txt, tokenizer.model"):
        load_tokenizer(tmp_path)


HOSTILE: dict[str, Callable[[], dict[str, bytes]]] = {
    "as many merges as are read": lambda: {"merges.txt": b"a b\n" * 299_999},
    "merges without end": lambda: {"merges.txt": b"a b\n" * 8_000_000},
    "merges of long tokens": lambda: {"merges.txt": (b"a" * 30 + b" " + b"b" * 30 + b"\n") * 299_999},
    "a vocabulary without end": lambda: {"vocab.json": json.dumps({f"t{at}": at for at in range(1_400_000)}).encode()},
    "a vocabulary as large as is read": lambda: {"vocab.json": json.dumps({f"t{at}": at for at in range(300_000)}).encode()},
    "as many special tokens as are read": lambda: {
        "tokenizer_config.json": json.dumps({"extra_special_tokens": [f"<{at}>" for at in range(49_000)]}).encode()
    },
    "added tokens without end": lambda: {"added_tokens.json": json.dumps({f"<{at}>": 1057 + at for at in range(250_000)}).encode()},
    "special tokens without end": lambda: {
        "tokenizer_config.json": json.dumps({"extra_special_tokens": [f"<{at}>" for at in range(350_000)]}).encode()
    },
    "a list of lists": lambda: {"special_tokens_map.json": b'{"extra_special_tokens": [' + b"[]," * 1_000_000 + b"[]]}"},
}


AT_ONCE = ("merges without end", "special tokens without end", "a list of lists")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the most memory that a process had")
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[] if kind in AT_ONCE else pytest.mark.slow) for kind in HOSTILE])
def test_hostile_files_are_read_or_refused_in_two_seconds_and_500_mb(tmp_path: Path, small: dict[str, Any], kind: str) -> None:
    written(tmp_path, small)
    for name, content in HOSTILE[kind]().items():
        (tmp_path / name).write_bytes(content)
    told, seconds, kilobytes = cost_of_loading(tmp_path)
    assert len(told) < 500
    assert seconds < 2
    assert kilobytes < 500 << 10


@pytest.mark.slow
def test_damaged_files_leave_no_traceback(tmp_path: Path) -> None:
    """Fifteen hundred of them: bytes changed, cut out and put in twice."""
    model = byte_level_json([("a", "b"), ("ab", "c")])["model"]
    size = len(model["vocab"])
    entry = {"content": "<b>", "lstrip": False, "special": True}
    files = {
        "added_tokens": {"<a>": size, "<b>": size + 1},
        "special_tokens_map": {"bos_token": "<a>", "eos_token": entry, "additional_special_tokens": ["<c>"]},
        "tokenizer_config": {"add_bos_token": True, "tokenizer_class": "GPT2Tokenizer", "added_tokens_decoder": {str(size): entry}},
    }
    chance, refused = random.Random(3), list[str]()
    for at in range(1500):
        written(tmp_path, model, **files)
        if at % 2:
            (tmp_path / "tokenizer_config.json").unlink()
        file = chance.choice(sorted(tmp_path.iterdir()))
        data = bytearray(file.read_bytes())
        for _ in range(chance.randint(1, 4)):
            place, length = chance.randrange(len(data)), chance.randint(1, 30)
            match chance.randrange(4):
                case 0:
                    data[place] = chance.choice(b'"{}[]:,0123456789 \n\xffa')
                case 1:
                    del data[place : place + length]
                case 2:
                    data[place:place] = data[place : place + length]
                case 3:
                    data[place:place] = chance.choice([b"null", b"-1", b"1e400", b"9" * 40, b"true", b'"\\ud800"', b"[[", b"{}"])
            if not data:
                break
        file.write_bytes(bytes(data))
        try:
            load_tokenizer(tmp_path).encode("<a> abc ab")
        except RunError as error:
            refused.append(str(error))
    assert 150 < len(refused) < 1450
    assert all(each.isprintable() for each in refused)
