"""GGUF files: the numbers are those of the package `gguf`, the settings what config.json would say, and forged ones are refused."""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gencli.conversion import convert
from gencli.errors import GencliError, RunError
from gencli.formats import Checkpoint, open_checkpoint
from gencli.formats._gguf_file import TYPES, read_gguf
from gencli.formats._gguf_metadata import meant
from weights import logits, random_folder

WIDTH, ROWS = 512, 5


def file_of(path: Path, word: str = "llama", *, tensors: dict[str, Any] | None = None, change: Callable[[GGUFWriter], object] = id) -> Path:
    """A file by gguf's own writer: one layer's settings, an embedding, and what is asked for."""
    writer = GGUFWriter(path, word)
    writer.add_block_count(1)
    writer.add_context_length(32)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_layer_norm_eps(1e-5)
    change(writer)
    for name, values in (tensors or {"token_embd.weight": np.ones((3, 64), np.float32)}).items():
        data, kind = values if isinstance(values, tuple) else (values, None)
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_types_are_those_of_the_package() -> None:
    for number, (name, numbers, width) in TYPES.items():
        kind = GGMLQuantizationType(number)
        assert (kind.name, gguf.GGML_QUANT_SIZES[kind]) == (name, (numbers, width))
    known = {kind for kind in GGMLQuantizationType if kind in gguf.quants._type_traits} | {
        GGMLQuantizationType.F32,
        GGMLQuantizationType.F16,
    }
    assert {kind.name for kind in known} == {name for name, _, _ in TYPES.values()}


@pytest.mark.parametrize("number", TYPES)
def test_every_type_is_dequantised_as_the_package_does(tmp_path: Path, number: int) -> None:
    kind = GGMLQuantizationType(number)
    numbers, width = gguf.GGML_QUANT_SIZES[kind]
    data = np.random.default_rng(number).integers(0, 256, (ROWS, WIDTH // numbers * width), dtype=np.uint8)
    data = data.view({0: np.float32, 1: np.float16}.get(number, np.uint8))
    file = file_of(tmp_path / "x.gguf", tensors={"token_embd.weight": (data, kind)})
    checkpoint = open_checkpoint(file)
    with np.errstate(all="ignore"):
        found = checkpoint.tensors["model.embed_tokens.weight"]
        wanted = gguf.dequantize(GGUFReader(file).tensors[0].data, kind)
    assert checkpoint.headers["model.embed_tokens.weight"] == (kind.name if number in (0, 1, 30) else "F32", (ROWS, WIDTH))
    assert checkpoint.stored["model.embed_tokens.weight"] == kind.name
    np.testing.assert_array_equal(found.float().numpy(), wanted)


def test_a_large_tensor_is_dequantised_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).standard_normal((50, 64)).astype(np.float32)
    data = gguf.quantize(values, GGMLQuantizationType.Q8_0)
    file = file_of(tmp_path / "x.gguf", tensors={"token_embd.weight": (data, GGMLQuantizationType.Q8_0)})
    monkeypatch.setattr("gencli.formats._gguf_tensors.BLOCK", 64 * 7)
    found = open_checkpoint(file).tensors["model.embed_tokens.weight"].numpy()
    np.testing.assert_array_equal(found, gguf.dequantize(data, GGMLQuantizationType.Q8_0))


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama, tied, heads of their own width": ("llama", {"tie_word_embeddings": True, "head_dim": 24}),
    "llama with biases": ("llama", {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 4}),
    "gpt2": ("gpt2", {}),
    "gpt2 with a head": ("gpt2", {"tie_word_embeddings": False, "n_inner": 96}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_float32_gives_the_folders_logits(tmp_path: Path, fable: Path, kind: str) -> None:
    folder = random_folder(tmp_path / "folder", fable, KINDS[kind][0], **KINDS[kind][1])
    convert(open_checkpoint(folder), tmp_path / "x.gguf", "gguf", "float32")
    assert torch.equal(logits(tmp_path / "x.gguf"), logits(folder))


def test_the_rotary_pairs_of_a_file_by_the_packages_writer(tmp_path: Path) -> None:
    """llama.cpp turns numbers 2i and 2i + 1 of a head, Hugging Face i and i + half: row by row."""
    rows = np.arange(64, dtype=np.float32)[:, None] * np.ones(64, np.float32)
    tensors = {"token_embd.weight": np.ones((3, 64), np.float32), "blk.0.attn_q.weight": rows, "blk.0.attn_k.weight": rows[:32]}
    found = open_checkpoint(file_of(tmp_path / "x.gguf", tensors=tensors)).tensors
    for name, count in (("q_proj", 64), ("k_proj", 32)):
        got = found[f"model.layers.0.self_attn.{name}.weight"][:, 0].tolist()
        assert got == [float(16 * (row // 16) + (2 * (row % 16) if row % 16 < 8 else 2 * (row % 16 - 8) + 1)) for row in range(count)]


def opened(path: Path, change: Callable[[GGUFWriter], object], **others: Any) -> Checkpoint:
    return open_checkpoint(file_of(path / "x.gguf", change=change, **others))


def test_settings_are_those_of_a_config(tmp_path: Path) -> None:
    checkpoint = opened(
        tmp_path, lambda writer: (writer.add_rope_freq_base(500000.0), writer.add_key_length(20), writer.add_eos_token_id(2))
    )
    wanted = {
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": 3,
        "hidden_size": 64,
        "num_key_value_heads": 2,
        "head_dim": 20,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "eos_token_id": 2,
    }
    assert {key: checkpoint.config[key] for key in wanted} == wanted
    assert checkpoint.generation_config == {"eos_token_id": [2]}
    assert (checkpoint.name, checkpoint.vocabulary) == ("x", None)


@pytest.mark.parametrize("value", [1e-5, 1e-6, 0.1, 10000.0, 500000.0, 1.0, 3.5e-7, -2.25, 1 / 3])
def test_a_decimal_is_found_again(value: float) -> None:
    (narrow,) = struct.unpack("<f", struct.pack("<f", value))
    assert struct.pack("<f", meant(narrow)) == struct.pack("<f", value)
    assert len(repr(meant(narrow))) <= len(repr(value))


def test_stretched_positions(tmp_path: Path) -> None:
    def yarn(writer: GGUFWriter) -> None:
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(4.0)
        writer.add_rope_scaling_orig_ctx_len(8192)

    assert opened(tmp_path, yarn).config["rope_scaling"] == {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}
    with pytest.raises(RunError, match="stretched by 'other' are not known; known are none, linear"):
        opened(tmp_path, lambda writer: writer.add_string("llama.rope.scaling.type", "other"))


def llama_3(base: float, width: int, factor: float) -> Any:
    """As transformers computes them."""
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaling = {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    config = LlamaConfig(
        hidden_size=4 * width, num_attention_heads=4, max_position_embeddings=131072, rope_theta=base, rope_scaling=scaling
    )
    found, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = 1 / base ** (torch.arange(0, width, 2).float() / width)
    return (plain / found).numpy(), {name: value for name, value in scaling.items() if name != "rope_theta"}


def test_the_settings_of_llama_3_are_found_from_its_factors(tmp_path: Path) -> None:
    factors, scaling = llama_3(500000.0, 64, 8.0)
    tensors = {"token_embd.weight": np.ones((3, 64), np.float32), "rope_freqs.weight": factors.astype(np.float32)}
    checkpoint = opened(tmp_path, lambda writer: writer.add_rope_freq_base(500000.0), tensors=tensors)
    assert checkpoint.config["rope_scaling"] == scaling
    for wrong in (factors * 2, factors * 0, np.full(32, np.nan)):
        tensors["rope_freqs.weight"] = wrong.astype(np.float32)
        with pytest.raises(RunError, match="are not those of Llama 3"):
            opened(tmp_path, lambda writer: writer.add_rope_freq_base(500000.0), tensors=tensors)


def test_a_vocabulary(tmp_path: Path) -> None:
    def write(writer: GGUFWriter) -> None:
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(["<unk>", "<s>", "▁a"])
        writer.add_token_scores([0.0, 0.0, -1.5])
        writer.add_token_types([2, 3, 1])
        writer.add_bos_token_id(1)
        writer.add_unk_token_id(0)
        writer.add_add_bos_token(True)
        writer.add_add_space_prefix(False)
        writer.add_chat_template("{{ messages }}")

    found = opened(tmp_path, write).vocabulary
    assert found is not None
    assert (found.kind, found.pre, found.tokens, found.scores, found.types) == (
        "llama",
        "default",
        ["<unk>", "<s>", "▁a"],
        [0, 0, -1.5],
        [2, 3, 1],
    )
    assert (found.bos, found.eos, found.unk, found.add_bos, found.add_space_prefix) == (1, None, 0, True, False)
    assert found.chat_template == "{{ messages }}"


def tokens(*listed: Any, **others: Any) -> Callable[[GGUFWriter], object]:
    """A vocabulary, and settings of it."""

    def write(writer: GGUFWriter) -> None:
        writer.add_tokenizer_model("gpt2")
        writer.add_array("tokenizer.ggml.tokens", list(listed))
        for name, value in others.items():
            (writer.add_array if isinstance(value, list) else writer.add_uint32)(f"tokenizer.ggml.{name}", value)

    return write


REFUSED: dict[str, tuple[Callable[[GGUFWriter], object], str]] = {
    "types that are too few": (tokens("a", "b", token_type=[1]), "1 entries for 2 tokens"),
    "a type that there is not": (tokens("a", token_type=[9]), "no type from 1 to 6"),
    "an id beyond the tokens": (tokens("a", bos_token_id=1), "there are 1 tokens"),
    "tokens that are numbers": (tokens(1, 2), "must be a list of str"),
    "a base that is text": (lambda writer: writer.add_string("llama.rope.freq_base", "x"), "must be a number, not 'x'"),
    "a base that is none": (lambda writer: writer.add_rope_freq_base(float("nan")), "must be a number"),
    "a width of a head that is text": (lambda writer: writer.add_string("llama.attention.key_length", "x"), "must be a whole number"),
    "experts that differ by layer": (lambda writer: writer.add_array("llama.expert_count", [1, 2]), "must be a whole number"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_settings_that_cannot_be(tmp_path: Path, kind: str) -> None:
    change, says = REFUSED[kind]
    with pytest.raises(RunError, match=says):
        opened(tmp_path, change)


def test_architectures_and_tensors_that_are_not_known(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"the architecture 'llama4' is not known. The nearest is llama. Choices: gemma2"):
        open_checkpoint(file_of(tmp_path / "x.gguf", "llama4"))
    with pytest.raises(RunError, match=r"not known of the architecture llama: 'blk.0.ssm_in.weight'"):
        open_checkpoint(
            file_of(
                tmp_path / "x.gguf",
                tensors={"token_embd.weight": np.ones((3, 64), np.float32), "blk.0.ssm_in.weight": np.ones(3, np.float32)},
            )
        )
    with pytest.raises(RunError, match=r"lacks the tensor token_embd.weight"):
        open_checkpoint(file_of(tmp_path / "x.gguf", tensors={"output_norm.weight": np.ones(3, np.float32)}))


def test_a_llama_with_a_window_is_mistrals(tmp_path: Path) -> None:
    config = opened(tmp_path, lambda writer: writer.add_sliding_window(16)).config
    assert (config["architectures"], config["sliding_window"]) == (["MistralForCausalLM"], 16)


def text(value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def header(*, tensors: int = 0, entries: int = 0, version: int = 3, rest: bytes = b"", magic: bytes = b"GGUF") -> bytes:
    return magic + struct.pack("<IQQ", version, tensors, entries) + rest + bytes(64)


def tensor(name: str = "a", shape: tuple[int, ...] = (2,), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


HUGE = 1 << 60
FORGED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "0 bytes are no GGUF file"),
    "another magic": (header(magic=b"GGUX"), "does not begin with GGUF"),
    "version 1": (header(version=1), "its version 1 is not 2 or 3"),
    "large end first": (header(version=3 << 24), "the large end first"),
    "endless tensors": (header(tensors=HUGE), "at most 65536 of each are read"),
    "endless settings": (header(entries=HUGE), "at most 65536"),
    "an endless key": (header(entries=1, rest=struct.pack("<Q", HUGE)), "is too long, or goes beyond its end"),
    "an endless text": (header(entries=1, rest=text("k") + struct.pack("<IQ", 8, HUGE)), "is too long"),
    "a billion tokens": (header(entries=1, rest=text("k") + struct.pack("<IIQ", 9, 8, 10**9)), "a list of 1000000000 texts"),
    "a billion numbers": (header(entries=1, rest=text("k") + struct.pack("<IIQ", 9, 4, 10**9)), "a list of 1000000000 numbers"),
    "lists of lists": (header(entries=1, rest=text("k") + struct.pack("<IIQ", 9, 9, 1)), "a list is of the type 9"),
    "a type that there is not": (header(entries=1, rest=text("k") + struct.pack("<I", 99)), "a setting is of the type 99"),
    "a setting twice": (header(entries=2, rest=(text("k") + struct.pack("<IB", 0, 1)) * 2), "'k' stands in it twice"),
    "no UTF-8": (header(entries=1, rest=text(b"\xff") + struct.pack("<IB", 0, 1)), "can't decode"),
    "cut off": (header(entries=1, rest=text("k" * 90))[:120], "beyond its end"),
    "an alignment of 3": (header(entries=1, rest=text("general.alignment") + struct.pack("<II", 4, 3)), "its alignment 3"),
    "an alignment of 0": (header(entries=1, rest=text("general.alignment") + struct.pack("<II", 4, 0)), "its alignment 0"),
    "an alignment in text": (header(entries=1, rest=text("general.alignment") + struct.pack("<I", 8) + text("x")), "its alignment 'x'"),
    "a tensor twice": (header(tensors=2, rest=tensor() * 2), "'a' stands in it twice"),
    "too many axes": (header(tensors=1, rest=tensor(shape=(1,) * 5)), "more than 4 axes"),
    "endless axes": (header(tensors=1, rest=text("a") + struct.pack("<I", 2**32 - 1)), "more than 4 axes"),
    "an endless shape": (header(tensors=1, rest=tensor(shape=(HUGE, HUGE))), "perhaps the file was cut off"),
    "an offset beyond the file": (header(tensors=1, rest=tensor(offset=HUGE)), "perhaps the file was cut off"),
    "an offset that is not aligned": (header(tensors=1, rest=tensor(offset=8)), "does not lie in whole blocks"),
    "part of a block": (header(tensors=1, rest=tensor(shape=(33,), kind=8)), "does not lie in whole blocks"),
    "an unknown type": (header(tensors=1, rest=tensor(kind=31)), "of ggml's type 31"),
    "an overlap": (header(tensors=2, rest=tensor("a", (12,)) + tensor("b", (2,), offset=32)), "'b' begins within another"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_file_is_refused(tmp_path: Path, kind: str) -> None:
    data, says = FORGED[kind]
    (tmp_path / "x.gguf").write_bytes(data)
    start = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(RunError, match=says) as caught:
            open_checkpoint(tmp_path / "x.gguf")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert str(caught.value).isprintable()
    assert time.process_time() - start < 2


def test_two_million_empty_tokens_take_no_longer_than_reading_their_lengths_some_times(tmp_path: Path) -> None:
    """Some tenths of a second on an idle machine; told beside a plain loop, for a busy one."""
    lengths = bytes(8 << 21)
    start = time.process_time()
    assert sum(struct.unpack_from("<Q", lengths, 8 * at)[0] for at in range(1 << 21)) == 0
    plain = time.process_time() - start
    with open(tmp_path / "x.gguf", "wb") as file:
        file.write(header(entries=1, rest=text("k") + struct.pack("<IIQ", 9, 8, 1 << 21))[:-64])
        file.truncate(file.tell() + 8 * (1 << 21) + 64)
    start = time.process_time()
    assert read_gguf(tmp_path / "x.gguf").metadata["k"] == [""] * (1 << 21)
    spent = time.process_time() - start
    assert spent < 5 * plain


def test_a_file_of_ollamas_has_no_ending(tmp_path: Path) -> None:
    file_of(tmp_path / "x.gguf").rename(tmp_path / "sha256-abc")
    assert open_checkpoint(tmp_path / "sha256-abc").config["model_type"] == "llama"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    def write(writer: GGUFWriter) -> None:
        writer.add_tokenizer_model("llama")
        writer.add_token_list(["a", "b", "c"])
        writer.add_token_types([1, 1, 1])

    return file_of(tmp_path_factory.mktemp("whole") / "x.gguf", change=write).read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(data=st.data())
def test_a_mutated_file_is_read_or_refused(tmp_path: Path, whole: bytes, data: st.DataObject) -> None:
    changed = bytearray(whole)
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), min_size=1, max_size=4)):
        changed[at] = byte
    (tmp_path / "x.gguf").write_bytes(changed)
    assert outcome(tmp_path / "x.gguf").isprintable()


def outcome(file: Path) -> str:
    """The sentence with which a file is refused; "read" where it is not."""
    try:
        checkpoint = open_checkpoint(file)
        checkpoint.tensors["model.embed_tokens.weight"].sum()
    except GencliError as error:
        return str(error)
    return "read"
