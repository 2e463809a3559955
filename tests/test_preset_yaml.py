"""Strict YAML: the core schema of 1.2, what is refused and where, and that nothing else ever comes out of it."""

from __future__ import annotations

import json
import math
import time

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from gencli.errors import UsageError
from gencli.preset_yaml import DEEPEST, LARGEST, MOST, Node, parse, quoted, read_text, scalar

NUMBERS = st.integers(-(10**150), 10**150) | st.floats(allow_nan=False)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(st.characters(exclude_categories=["Cs"]))
ODD = "ab \n\t'\"\\é😀:#-[]{},&*!|>%@`"


def plain(text):
    node = parse(text, "x.yaml")
    return node.plain() if node else None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4), ("-1.5E+3", -1500.0), (".5", 0.5), ("1.", 1.0), ("12e03", 12000.0), ("0", 0), ("-12", -12), ("+7", 7), ("014", 14),
        ("0o14", 12), ("0xff", 255), (".inf", math.inf), ("-.Inf", -math.inf), ("+.INF", math.inf),
        ("true", True), ("True", True), ("FALSE", False), ("null", None), ("~", None), ("NULL", None), ("", None),
        # texts, though some were numbers, booleans or times in YAML 1.1
        ("1_000", "1_000"), ("yes", "yes"), ("no", "no"), ("on", "on"), ("Off", "Off"),
        ("y", "y"), ("tRUE", "tRUE"), ("0b11", "0b11"), ("0o8", "0o8"),
        ("-0x1", "-0x1"), ("1:30", "1:30"),
        ("2001-01-01", "2001-01-01"), ("inf", "inf"), ("nan", "nan"), ("1e", "1e"), (".", "."), ("+", "+"),
        ("9" * 5000, "9" * 5000), ("١٢", "١٢"),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_schema_of_yaml_1_2(text, value):
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)
    if text:
        assert plain(f"- {text}") == [value]


def test_nan_is_a_number():
    assert math.isnan(scalar(".nan"))
    assert math.isnan(plain("- .NaN")[0])


@pytest.mark.parametrize("text", ['"3"', "'true'", '"~"', "'3e-4'"])
def test_quotes_make_texts(text):
    assert plain(f"- {text}") == [text[1:-1]]


def test_nodes_know_their_lines():
    node = parse("# one\na: 1\nb:\n  - x\n  - c: {d: 2}\n", "x.yaml")
    (a, one), (b, items) = node.value
    assert (node.kind, a.line, one.line, b.line, items.line) == ("mapping", 2, 2, 3, 4)
    assert [item.line for item in items.value] == [4, 5]
    assert node.plain() == {"a": 1, "b": ["x", {"c": {"d": 2}}]}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: 2\na: 3", 3, 'key "a" stands twice; the first is in line 1'),
        ("a:\n  b: 1\n  b: 1", 3, "stands twice"),
        ("- {5: 1, 0x5: 2}", 1, "stands twice"),
        ("a: &x 1", 1, "anchors (&x)"),
        ("a: &x [1]\nb: 2", 1, "anchors (&x)"),
        ("\na: *x", 2, "aliases (*x)"),
        ("a: !!str 1", 1, "tags (tag:yaml.org,2002:str)"),
        ("a: !mine 1", 1, "tags (!mine)"),
        ("a: ! 1", 1, "tags (!)"),
        ("!!python/object/apply:os.system [true]", 1, "tags"),
        ("a: 1\n---\nb: 2", 2, "second document"),
        ("? [a]\n: b", 1, "a list cannot be a key"),
        ("{{a: 1}: 2}", 1, "a mapping cannot be a key"),
        ("a: 1\nb: \x1b[2J", 2, "U+001B"),
        ("a: \x00", 1, "U+0000"),
        ("a: \ufffe", 1, "U+FFFE"),
        ('a: "\\ud83d\\ude00"', 1, "surrogate"),
        ("a: b: c", 1, "not YAML"),
        ("a:\n\t- b", 2, "not YAML"),
        ("a: 'b", 1, "not YAML"),
        ("%YAML 3.0\n--- a", 1, "not YAML"),
        ("[" * 200, 1, f"more than {DEEPEST} deep"),
    ],
)  # fmt: skip
def test_what_is_refused_tells_file_and_line(text, line, said):
    with pytest.raises(UsageError) as error:
        parse(text, "x.yaml")
    assert str(error.value).startswith(f"x.yaml, line {line}: ")
    assert said in str(error.value)


@pytest.mark.parametrize("text", ['"\\U00110000"', '"\\UFFFFFFFF"', "%YAML 1." + "9" * 5000 + "\n--- a"])
def test_what_pyyaml_stumbles_over_is_a_sentence(text):
    with pytest.raises(UsageError, match=r"^x.yaml: this is not YAML"):
        parse(text, "x.yaml")


BOMBS = {
    "brackets": "[" * 100_000,
    "braces": "{a: " * 100_000,
    "dashes": "- " * 100_000,
    "questions": "? " * 100_000,
    "lines": "".join(f"{' ' * depth}a:\n" for depth in range(400)),
    "aliases": "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))]),
    "values": "[" + "a," * (MOST + 1) + "]",
    "anchor": "&" + "a" * 500_000 + " b",
    "key": f"{'a' * 500_000}: 1\n{'a' * 500_000}: 1",
    "size": "#" * (LARGEST + 1),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_end_at_once_and_in_short(name):
    started = time.monotonic()
    with pytest.raises(UsageError) as error:
        parse(BOMBS[name], "x.yaml")
    assert time.monotonic() - started < 5  # the machine may be busy; none of them takes a second
    assert len(str(error.value)) < 300


def test_an_empty_text_holds_nothing():
    assert parse("", "x") is None
    assert parse("# a comment\n", "x") is None
    assert parse("\ufeffa: 1", "x").plain() == {"a": 1}


def test_files_are_small_utf_8_texts(tmp_path):
    file = tmp_path / "a.yaml"
    for data, said in (
        (b"a: 1\nb: \xff", "line 2: byte 8 is not UTF-8"),
        ("a: 1".encode("utf-16"), "line 1: byte 0"),
        (b" " * (LARGEST + 1), "more than 1,000,000 bytes"),
    ):
        file.write_bytes(data)
        with pytest.raises(UsageError, match=said):
            read_text(file)
    for path in (tmp_path, tmp_path / "none", tmp_path / ("x" * 300), tmp_path / "a\0b"):
        with pytest.raises(UsageError, match="cannot be read"):
            read_text(path)


@given(SCALARS)
@example("")
@example("\x85\u2028\ufeff\x7f\0")
@example("- yes: ~")
@example(1e-05)
def test_quoted_scalars_come_back(value):
    text = quoted(value)
    assert plain(f"- {text}") == [value]
    assert plain(f"{{{text}: {text}}}") == {value: value}
    if isinstance(value, str):
        assert yaml.safe_load(text) == value
    else:
        assert scalar(text) == value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(ODD, max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc: ", max_size=3), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(JSON)
def test_json_is_read_as_it_is(value):
    assert plain("# a comment keeps null from being an empty document\n" + json.dumps(value, ensure_ascii=False, indent=1)) == value


def texts(node: Node | None):
    """Every scalar as a text."""
    if node is None or node.kind == "scalar":
        return None if node is None else str(node.value)
    if node.kind == "list":
        return [texts(item) for item in node.value]
    return {texts(key): texts(value) for key, value in node.value}


@given(st.text("ab:-,[]{}#'\" \n|>?", max_size=30))
def test_the_structure_is_that_of_pyyaml(text):
    try:
        mine = texts(parse(text, "x"))
    except UsageError:
        return
    # without numbers and words in the alphabet, all scalars but the empty one are texts in both
    theirs = yaml.load(text, Loader=yaml.BaseLoader)
    assert mine == theirs or "None" in str(mine)


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda data: data.decode("utf-8", "surrogateescape")))
def test_any_text_is_read_or_refused(text):
    found = read_or_why(text)
    assert isinstance(found, Node | None) or found.startswith("x")


def read_or_why(text):
    try:
        return parse(text, "x")
    except UsageError as error:
        return str(error)
