"""Headers and JSON that were damaged or forged end in one sentence, at once, in little memory."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from gencli.errors import GencliError, RunError
from gencli.formats import LARGEST_HEADER, Header, open_checkpoint, parse_json, read_json
from gencli.formats._safetensors import read_header


def refusal(file: Path) -> str:
    """The sentence with which a file is refused; "Read." where it is not."""
    try:
        read_header(file)
    except GencliError as error:
        return str(error)
    return "Read."


def headers(file: Path) -> dict[str, Header]:
    return {name: piece.header for name, piece in read_header(file).items()}


A = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
B = {"dtype": "F16", "shape": [4], "data_offsets": [24, 32]}


def file_of(folder: Path, header: Any, data: int = 32, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file = folder / "model.safetensors"
    file.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + bytes(data))
    return file


def test_a_header_as_the_library_writes_it(tmp_path: Path) -> None:
    tensors = {
        "one": torch.zeros(2, 3),
        "two": torch.zeros(5, dtype=torch.float16),
        "none": torch.zeros(0, 4),
        "number": torch.tensor(1, dtype=torch.int64),
    }
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    assert headers(tmp_path / "x.safetensors") == {
        "one": ("F32", (2, 3)),
        "two": ("F16", (5,)),
        "none": ("F32", (0, 4)),
        "number": ("I64", ()),
    }


def test_a_header_by_hand(tmp_path: Path) -> None:
    assert headers(file_of(tmp_path, {"b": B, "a": A, "__metadata__": {"format": "pt"}})) == {
        "a": Header("F32", (2, 3)),
        "b": Header("F16", (4,)),
    }


FORGED: dict[str, tuple[Any, str]] = {
    "an entry that is a number": ({"a": 5}, "'a' has no dtype, shape and data_offsets"),
    "an entry without a shape": ({"a": {"dtype": "F32", "data_offsets": [0, 32]}}, "has no dtype"),
    "an unknown dtype": ({"a": {**A, "dtype": "F31"}}, "dtype 'F31'; known are BOOL"),
    "a dtype that is a list": ({"a": {**A, "dtype": ["F32"]}}, "has the dtype"),
    "a negative axis": ({"a": {**A, "shape": [-2, -3]}}, "which is not a list of up to 8 whole numbers"),
    "an axis that is true": ({"a": {**A, "shape": [True, 6]}}, "which is not a list"),
    "too many axes": ({"a": {**A, "shape": [10**19] * 100_000}}, "which is not a list"),
    "a shape that is too large": ({"a": {**A, "shape": [10**19] * 8}}, "but 24 bytes"),
    "a shape that is too small": ({"a": {**A, "shape": [2]}}, "but 24 bytes"),
    "offsets that are turned round": ({"a": {**A, "data_offsets": [24, 0]}}, "not a beginning and an end"),
    "offsets that are text": ({"a": {**A, "data_offsets": ["0", "24"]}}, "not a beginning and an end"),
    "an overlap": ({"a": A, "b": {**B, "data_offsets": [20, 28]}}, "'b' begins at byte 20 of the data, where byte 24 is due"),
    "a gap": ({"a": A, "b": {**B, "data_offsets": [28, 36]}}, "'b' begins at byte 28"),
    "an end beyond the file": ({"a": {**A, "shape": [2**40], "data_offsets": [0, 2**42]}}, "perhaps it was cut off"),
    "data that no tensor claims": ({"a": A}, "its tensors take 24 bytes and it holds 32"),
    "nested brackets": (b"[" * 100_000, "nested too deeply"),
    "nested objects": (b'{"a":' * 100_000, "nested too deeply"),
    "the same name twice": (b'{"a": 1, "a": 2}', "'a' stands in it twice"),
    "a name with an escape": (b'{"\\u001b[2J": 1, "\\u001b[2J": 2}', r"'\\x1b\[2J' stands in it twice"),
    "a list": ([1], "holds no JSON object"),
    "no JSON": (b"\xff\xfe", "damaged: 'utf-8' codec"),
    "an endless number": (b'{"a": ' + b"9" * 100_000 + b"}", "a number of 100000 digits"),
    "no number": (b'{"a": NaN}', "NaN is no number"),
    "nothing": (b"", "damaged"),
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_header_is_refused(tmp_path: Path, kind: str) -> None:
    header, says = FORGED[kind]
    with pytest.raises(RunError, match=says) as caught:
        read_header(file_of(tmp_path, header))
    assert len(str(caught.value)) < 500 + len(str(tmp_path))
    assert str(caught.value).isprintable()


def test_a_length_that_means_any_is_read() -> None:
    """As thousands of tokenizer_config.json have it: int(1e30)."""
    assert parse_json(b'{"model_max_length": 1000000000000000019884624838656}', "x") == {"model_max_length": int(1e30)}


@pytest.mark.parametrize("length", [2**60, 2**64 - 1, 2**31, 33])
def test_a_length_beyond_the_file_allocates_nothing(tmp_path: Path, length: int) -> None:
    file = file_of(tmp_path, b"", length=length)
    tracemalloc.start()
    try:
        with pytest.raises(RunError, match="does not fit in its 40 bytes"):
            read_header(file)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_length_beyond_what_is_read(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    with open(file, "wb") as stream:
        stream.write((LARGEST_HEADER + 1).to_bytes(8, "little"))
        stream.truncate(LARGEST_HEADER * 2)
    with pytest.raises(RunError, match="more than the"):
        read_header(file)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 30])
def test_a_truncated_file(tmp_path: Path, size: int) -> None:
    file = file_of(tmp_path, {"a": A, "b": B})
    os.truncate(file, size)
    with pytest.raises(RunError, match="cut off"):
        read_header(file)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    file = file_of(tmp_path, {"a": A, "b": B})
    for size in reversed(range(file.stat().st_size)):
        os.truncate(file, size)
        with pytest.raises(RunError):
            read_header(file)


WHOLE = json.dumps({"a": A, "b": B, "__metadata__": {"format": "pt"}}).encode()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) + 7), st.integers(0, 255)), min_size=1, max_size=4), st.integers(-40, 40))
@example([(len(WHOLE) // 2, 0)], 0)
def test_a_mutated_file_is_read_or_refused(tmp_path: Path, changes: list[tuple[int, int]], longer: int) -> None:
    data = bytearray(len(WHOLE).to_bytes(8, "little") + WHOLE + bytes(32))
    for at, byte in changes:
        data[at] = byte
    file = tmp_path / "model.safetensors"
    file.write_bytes(data[: len(data) + longer] if longer < 0 else data + bytes(longer))
    assert refusal(file).endswith(".")


ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "BF16", "U8", "x"]) | st.integers(),
        "shape": st.lists(st.integers(-1, 4) | st.sampled_from([2**31, 2**63, 2**64, 10**19]), max_size=9) | st.text(),
        "data_offsets": st.lists(st.integers(-1, 40) | st.just(2**64 - 1), max_size=3) | st.none(),
    }
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.text(max_size=5), ENTRY, max_size=4))
def test_any_entries_are_read_or_refused(tmp_path: Path, header: dict[str, Any]) -> None:
    assert refusal(file_of(tmp_path, header)).isprintable()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path, tmp_path / "pipe"):
        for read in (read_header, read_json):
            with pytest.raises(RunError, match="is not a file"):
                read(file)
    with pytest.raises(RunError, match="No such file"):
        read_header(tmp_path / "none")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_what_may_not_be_read_is_refused(tmp_path: Path) -> None:
    file = file_of(tmp_path, {"a": A, "b": B})
    file.chmod(0)
    for read in (read_header, read_json):
        with pytest.raises(RunError, match="Permission denied"):
            read(file)


def test_json_is_read_strictly() -> None:
    assert parse_json(b'{"a": [1, -2.5e3, null, {"b": "\xc3\xa9"}]}', "x") == {"a": [1, -2500.0, None, {"b": "é"}]}
    with pytest.raises(RunError, match=r"^settings.json is damaged: Expecting value: line 1"):
        parse_json(b'{"a": }', "settings.json")


def test_a_huge_config_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "config.json", "wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(RunError, match="larger than 4 MB"):
        read_json(tmp_path / "config.json")


def test_a_folder_of_no_format(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RunError, match=r"is no checkpoint: config.json or model.safetensors is missing"):
        open_checkpoint(tmp_path)
