"""A tokenizer.json that is missing, damaged or hostile is one sentence that names it, and nothing else."""

from __future__ import annotations

import json
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gencli.errors import RunError
from gencli.tokenizers import load_tokenizer
from gencli.tokenizers._source import refused
from tokenizing import Pair, byte_level_json, cost_of_loading

SPECIAL = {"id": 256, "content": "<s>", "special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


def refusal(folder) -> str:
    with pytest.raises(RunError) as caught:
        load_tokenizer(folder)
    message = str(caught.value)
    assert "tokenizer.json" in message
    assert "\n" not in message
    assert len(message) < 1000
    return message


def loaded_or_refused(folder) -> str:
    """ "tokenizer.json works", or the sentence that says why it does not."""
    try:
        load_tokenizer(folder).encode("abc <s>")
    except RunError as error:
        return str(error)
    return "tokenizer.json works"


def test_missing(tmp_path):
    assert "holds no tokenizer.json" in refusal(tmp_path)


def test_a_folder_in_its_place(tmp_path):
    (tmp_path / "tokenizer.json").mkdir()
    assert "holds no tokenizer.json" in refusal(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        "nonsense",
        '"model"',
        "{}",
        '{"model": 3}',
        '{"model": {}}',
        '{"model": {"vocab": 3}}',
        "\ufeff{}",
        "NaN",
    ],
)
def test_not_a_tokenizer(folder_with, text):
    refusal(folder_with(text))


def test_no_utf8(tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(b'{"model": "\xff"}')
    assert "not JSON" in refusal(tmp_path)


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"post_processor": ' + '{"type": "Sequence", "processors": ['])
def test_deep_nesting(folder_with, opening):
    refusal(folder_with(opening * 100_000))


@pytest.mark.parametrize("depth", [100, 300, 490, 900])
@pytest.mark.parametrize(
    ("part", "inner"),
    [("post_processor", "processors"), ("decoder", "decoders"), ("pre_tokenizer", "pretokenizers"), ("normalizer", "normalizers")],
)
def test_deep_nesting_that_is_closed_again(folder_with, depth, part, inner):
    sequence = f'{{"type": "Sequence", "{inner}": [' * depth + "]}" * depth
    text = json.dumps(byte_level_json([])).replace(f'"{part}": ', f'"{part}": {sequence}, "was": ', 1)
    assert "tokenizer.json" in loaded_or_refused(folder_with(text))


def test_larger_than_any_published_one(folder_with, monkeypatch):
    monkeypatch.setattr("gencli.tokenizers._source.MAX_BYTES", 1000)
    assert "larger" in refusal(folder_with(byte_level_json([])))


HOSTILE = {
    "empty lists": lambda: '{"model": {"vocab": [' + "[]," * 2_000_000 + "[]]}}",
    "objects": lambda: '{"model": {"vocab": ' + '{"a":' * 300_000 + "1" + "}" * 300_000 + "}}",
    "numbers": lambda: '{"model": {"vocab": [' + "1," * 4_000_000 + "1]}}",
    "more entries than any": lambda: '{"model": {"vocab": {' + "".join(f'"t{at}":0,' for at in range(1_600_000)) + '"t": 0}}}',
    "a billion entries, cut off": lambda: '{"model": {"type": "BPE", "vocab": {' + "".join(f'"t{at}": {at}, ' for at in range(2_000_000)),
    "too large": lambda: '{"model": "' + "x" * (48 << 20) + '"}',
    "an id far off": lambda: json.dumps(byte_level_json([], vocab={"a": 10**9})),
}


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the most memory that a process had")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_two_seconds_and_500_mb(folder_with, name):
    folder = folder_with(HOSTILE[name]())
    told, seconds, kilobytes = cost_of_loading(folder)
    assert "is damaged" in told
    assert seconds < 2
    assert kilobytes < 500 << 10


def test_a_chain_of_merges_takes_no_longer_than_others(folder_with):
    """Each token is the one before and one letter more: to compare all with all before them would take minutes."""
    merges = [("a", "a"), *(("a" * length, "a") for length in range(2, 4000))]
    data = byte_level_json(merges)
    start = time.process_time()
    pair = Pair(folder_with(data))
    assert time.process_time() - start < 10
    text = "a" * 5000 + " ba" + "a" * 3999
    assert pair.ours.encode(text) == pair.ordinary(text)


@pytest.mark.parametrize("part", ["pre_tokenizer", "normalizer", "decoder"])
def test_a_pattern_that_could_take_for_ever_is_named(folder_with, part):
    pattern = {"Regex": r"(a+)+$"}
    each = {
        "pre_tokenizer": {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False},
        "normalizer": {"type": "Replace", "pattern": pattern, "content": ""},
        "decoder": {"type": "Replace", "pattern": pattern, "content": ""},
    }[part]
    assert "its pattern '(a+)+$' repeats what is itself of several lengths" in refusal(folder_with(byte_level_json([]) | {part: each}))


@pytest.mark.parametrize("id", [-1, 1 << 22, 10**30, 1.5, "7", None, True, [1]])
def test_an_id_that_is_none(folder_with, id):
    data = byte_level_json([])
    data["model"]["vocab"]["!"] = id
    refusal(folder_with(data))
    refusal(folder_with(byte_level_json([], added_tokens=[SPECIAL | {"id": id}])))


def test_two_tokens_with_one_id(folder_with):
    data = byte_level_json([])
    data["model"]["vocab"]["!"] = data["model"]["vocab"]["?"]
    assert "same id" in refusal(folder_with(data))
    assert "same id" in refusal(folder_with(byte_level_json([], added_tokens=[SPECIAL | {"id": 3}])))
    assert "same id" in refusal(folder_with(byte_level_json([], added_tokens=[SPECIAL, SPECIAL | {"content": "<t>"}])))
    assert "same id" in refusal(folder_with(byte_level_json([], added_tokens=[SPECIAL, SPECIAL | {"id": 257}])))


def test_half_characters(folder_with):
    data = byte_level_json([])
    data["model"]["vocab"]["\ud800"] = 300
    assert "half a character" in refusal(folder_with(data))
    assert "half a character" in refusal(folder_with(byte_level_json([], added_tokens=[SPECIAL | {"content": "\udfff"}])))


@pytest.mark.parametrize("entry", [3, None, {}, {"id": 256}, {"content": "x"}, {"id": 256, "content": 5}, []])
def test_added_tokens_that_are_none(folder_with, entry):
    refusal(folder_with(byte_level_json([], added_tokens=[entry])))
    refusal(folder_with(byte_level_json([], added_tokens={"a": entry})))


@pytest.mark.parametrize(
    "merges",
    [[["x", "no such token"]], [["a"]], [["a", "b", "c"]], [3], ["a"], ["a b c"], [[1, 2]], "ab", {"a": 1}, [["a", "b"]], [None, "a b"]],
)
def test_merges_that_do_not_fit(folder_with, merges):
    data = byte_level_json([])
    data["model"]["merges"] = merges
    refusal(folder_with(data))


@pytest.mark.parametrize(
    "processor",
    [
        3,
        [],
        "ByteLevel",
        {"type": "Unheard"},
        {"type": "TemplateProcessing", "single": 3, "special_tokens": {}},
        {"type": "TemplateProcessing", "single": [3], "special_tokens": {}},
        {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}], "special_tokens": {}},
        {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}], "special_tokens": {"<s>": {"ids": ["x"]}}},
        {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}], "special_tokens": {"<s>": {"ids": [99999]}}},
        {"type": "BertProcessing", "sep": ["x", 1], "cls": ["x", -5]},
    ],
)
def test_post_processors_that_are_none(folder_with, processor):
    refusal(folder_with(byte_level_json([], post_processor=processor)))


def test_a_start_token_that_is_none(folder_with):
    refusal(folder_with(byte_level_json([]), {"add_bos_token": True, "bos_token": "<none>"}))


def test_a_damaged_tokenizer_config(tmp_path, folder_with):
    folder_with(byte_level_json([]))
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(RunError, match=r"tokenizer_config\.json"):
        load_tokenizer(tmp_path)


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 400),
        st.floats(allow_nan=False),
        st.text("aBĠ<>s", max_size=3),
        st.sampled_from(["BPE", "Unigram", "ByteLevel", "Sequence", "Split", "Fuse", "Strip", "Replace"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["type", "id", "content", "decoders", "pattern", "String", "vocab", "merges", "single"]), inner, max_size=3
        ),
    ),
    max_leaves=6,
)


@given(
    part=st.sampled_from(
        [
            "model",
            "normalizer",
            "pre_tokenizer",
            "post_processor",
            "decoder",
            "added_tokens",
            "truncation",
            "padding",
            "vocab",
            "merges",
            "ignore_merges",
            "dropout",
            "unk_token",
        ]
    ),
    value=JSON,
)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_in_any_place_loads_or_is_one_sentence(folder_with, part, value):
    data = byte_level_json([("a", "b")], added_tokens=[SPECIAL | {"id": 257}])
    (data if part in data else data["model"])[part] = value
    assert "tokenizer.json" in loaded_or_refused(folder_with(data))


START = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": "<s>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "</s>", "type_id": 0}},
    ],
    "pair": [],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [256], "tokens": ["<s>"]}, "</s>": {"id": "</s>", "ids": [257], "tokens": ["</s>"]}},
}
BOTH = [SPECIAL, SPECIAL | {"id": 257, "content": "</s>"}]


@pytest.mark.parametrize(
    ("processor", "config", "start"),
    [
        (None, None, ()),
        (START, None, (256,)),
        ({"type": "Sequence", "processors": [{"type": "ByteLevel", "trim_offsets": True, "add_prefix_space": False}, START]}, None, (256,)),
        ({"type": "BertProcessing", "sep": ["</s>", 257], "cls": ["<s>", 256]}, None, (256,)),
        (
            {"type": "RobertaProcessing", "sep": ["</s>", 257], "cls": ["<s>", 256], "trim_offsets": True, "add_prefix_space": False},
            None,
            (256,),
        ),
        (None, {"add_bos_token": True, "bos_token": "<s>"}, (256,)),
        (None, {"add_bos_token": True, "bos_token": {"content": "<s>", "lstrip": False}}, (256,)),
        (None, {"add_bos_token": True, "bos_token": None}, ()),
        (None, {"add_bos_token": False, "bos_token": "<s>"}, ()),
        (None, {"bos_token": "<s>"}, ()),
        (START, {"add_bos_token": True, "bos_token": "<s>"}, (256,)),
    ],
)
def test_start_tokens_are_those_that_the_files_put_in_front(folder_with, processor, config, start):
    folder = folder_with(byte_level_json([], post_processor=processor, added_tokens=BOTH), config)
    tokenizer = load_tokenizer(folder)
    assert tokenizer.start_ids == start
    assert tokenizer.encode("ab") == [97, 98]  # and never by encode


class PanicException(BaseException):
    """Rust code that panics raises one of this name, which is no `Exception`."""


def test_a_panic_is_one_sentence_and_an_interrupt_is_not(tmp_path):
    with pytest.raises(RunError, match="failed: it broke"), refused(tmp_path):
        raise PanicException("it\nbroke")
    with pytest.raises(KeyboardInterrupt), refused(tmp_path):
        raise KeyboardInterrupt
