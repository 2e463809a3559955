"""Where a prompt comes from, and what is refused: argument, file, standard input, template."""

from __future__ import annotations

import io
import os
import pty
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gencli.errors import RunError, UsageError
from gencli.prompting import Prompt, apply_template, read_prompt, refuse_too_long


def piped(content: bytes):
    """A pipe with its other end closed, as the reading end of a shell's `|`."""
    reading, writing = os.pipe()
    threading.Thread(target=lambda: (os.write(writing, content), os.close(writing))).start()
    return os.fdopen(reading, "rb")


def test_an_argument_alone():
    assert read_prompt("Once upon") == Prompt((("Once upon", False),))
    assert read_prompt("<|user|>", special=True).pieces == (("<|user|>", True),)


@pytest.mark.parametrize("argument", [None, "-"])
@pytest.mark.parametrize(
    ("content", "text"),
    [(b"a\n", "a"), (b"a\n\n", "a\n"), (b"a", "a"), (b"a\r\nb\r\n", "a\r\nb\r"), (b"\0", "\0"), ("é😀\n".encode(), "é😀")],
)
def test_standard_input_is_the_prompt(argument, content, text):
    with piped(content) as stdin:
        assert read_prompt(argument, stdin=stdin).text == text


def test_the_final_newline_is_kept_where_asked(tmp_path):
    assert read_prompt(None, stdin=io.BytesIO(b"a\n"), keep_newline=True).text == "a\n"
    (tmp_path / "p").write_bytes(b"a\n")
    assert read_prompt(None, prompt_file=tmp_path / "p", keep_newline=True).text == "a\n"
    assert read_prompt("b", stdin=io.BytesIO(b"a\n"), keep_newline=True).text == "a\n\n\nb"
    assert read_prompt("argument\n").text == "argument\n"


def test_standard_input_goes_before_the_argument(tmp_path):
    with piped(b"A fact.\n") as stdin:
        assert read_prompt("Why?", stdin=stdin).text == "A fact.\n\nWhy?"
    (tmp_path / "facts").write_text("A fact.\n")
    with open(tmp_path / "facts", "rb") as stdin:
        assert read_prompt("Why?", stdin=stdin, special=True).pieces == (("A fact.\n\nWhy?", True),)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"A fact.")
        theirs.shutdown(socket.SHUT_WR)
        with ours.makefile("rb") as stdin:
            assert read_prompt("Why?", stdin=stdin).text == "A fact.\n\nWhy?"


def test_empty_standard_input_counts_as_absent():
    with piped(b"") as stdin:
        assert read_prompt("alone", stdin=stdin).text == "alone"
    with open(os.devnull, "rb") as stdin:
        assert read_prompt("alone", stdin=stdin).text == "alone"
    assert read_prompt("alone", stdin=None).text == "alone"


def test_a_terminal_is_not_read():
    ours, theirs = pty.openpty()
    try:
        os.write(ours, b"typed\n")
        with os.fdopen(theirs, "rb") as stdin:
            assert read_prompt("alone", stdin=stdin).text == "alone"
            with pytest.raises(UsageError, match="prompt"):
                read_prompt(None, stdin=stdin)
            with pytest.raises(UsageError, match="prompt"):
                read_prompt("-", stdin=stdin)
    finally:
        os.close(ours)


def test_closed_input_and_folders_count_as_absent(tmp_path):
    stdin = io.BytesIO(b"x")
    stdin.close()
    assert read_prompt("alone", stdin=stdin).text == "alone"
    reading, writing = os.pipe()
    os.close(writing)
    with open(reading, "rb", closefd=False) as stdin:
        os.close(reading)
        assert read_prompt("alone", stdin=stdin).text == "alone"
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        assert read_prompt("alone", stdin=_descriptor(folder)).text == "alone"
    finally:
        os.close(folder)


def _descriptor(number: int):
    """What standard input is when the shell redirects a folder into it: a stream whose reads fail."""
    stream = io.BytesIO(b"never read")
    stream.fileno = lambda: number
    return stream


def test_no_stdin_leaves_it_alone():
    with piped(b"not for us") as stdin:
        assert read_prompt("alone", stdin=stdin, no_stdin=True).text == "alone"
        assert stdin.read() == b"not for us"
    for argument in (None, "-"):
        with pytest.raises(UsageError, match="--no-stdin"):
            read_prompt(argument, stdin=io.BytesIO(b"x"), no_stdin=True)


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_nothing_at_all_is_wrong_usage(content, tmp_path):
    (tmp_path / "empty").write_bytes(content)
    for more in ({}, {"stdin": None}, {"stdin": io.BytesIO(content)}, {"prompt_file": tmp_path / "empty"}):
        with pytest.raises(UsageError, match="holds no prompt"):
            read_prompt(None, **more)


def test_an_explicit_empty_prompt():
    assert read_prompt("") == read_prompt("", stdin=io.BytesIO(b"")) == Prompt()
    assert Prompt().text == ""
    assert read_prompt("", stdin=io.BytesIO(b"piped\n")).text == "piped"


def test_a_prompt_file_is_read_in_the_place_of_standard_input(tmp_path):
    (tmp_path / "p.txt").write_bytes("From a file é\n".encode())
    stdin = io.BytesIO(b"not read")
    assert read_prompt(None, prompt_file=str(tmp_path / "p.txt"), stdin=stdin).text == "From a file é"
    assert read_prompt("Why?", prompt_file=tmp_path / "p.txt", stdin=stdin).text == "From a file é\n\nWhy?"
    assert stdin.read() == b"not read"
    assert read_prompt(None, prompt_file="-", stdin=io.BytesIO(b"piped")).text == "piped"


@pytest.mark.parametrize("name", ["absent.txt", ".", "p.txt/below", "nul\0"])
def test_a_prompt_file_that_is_none(tmp_path, name):
    (tmp_path / "p.txt").touch()
    with pytest.raises(UsageError, match="cannot be read"):
        read_prompt(None, prompt_file=f"{tmp_path}/{name}")


def test_a_prompt_file_that_fails(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(RunError, match="cannot be read"):
        read_prompt(None, prompt_file=tmp_path / "loop")


@pytest.mark.parametrize(
    ("content", "offset"), [(b"\xff", 0), (b"good\xff", 4), ("é".encode() + b"\xc3(", 2), (b"a\xe2\x82", 1), (b"\xed\xa0\x80", 0)]
)
def test_invalid_utf8_tells_the_byte_and_where(tmp_path, content, offset):
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(UsageError, match=rf"standard input is not valid UTF-8: the byte 0x\w\w at offset {offset} "):
        read_prompt(None, stdin=io.BytesIO(content))
    with pytest.raises(UsageError, match=rf"bad is not valid UTF-8: .* at offset {offset} "):
        read_prompt(None, prompt_file=tmp_path / "bad")
    with pytest.raises(UsageError, match=rf"the argument is not valid UTF-8: .* at offset {offset} "):
        read_prompt(content.decode("utf-8", "surrogateescape"))


@given(content=st.binary(max_size=20))
def test_any_bytes_are_a_prompt_or_wrong_usage(content):
    outcomes = []
    for given_ in ({"argument": None, "stdin": io.BytesIO(content)}, {"argument": content.decode("utf-8", "surrogateescape")}):
        try:
            outcomes.append(read_prompt(**given_, keep_newline=True).text.encode())
        except UsageError as error:
            outcomes.append(str(error).rpartition(": ")[2])
    if content and content != b"-":  # a "-" that is typed is standard input, and empty input is no prompt
        assert outcomes[0] == outcomes[1]


def test_standard_input_is_read_no_further_than_the_limit():
    class Endless(io.RawIOBase):
        read_so_far = 0

        def read(self, size: int = -1) -> bytes:
            self.read_so_far += size
            return b"a" * size

    endless = Endless()
    with pytest.raises(UsageError, match="more than 3,000,000 bytes"):
        read_prompt(None, stdin=endless, limit_bytes=3_000_000)
    assert endless.read_so_far < 6_000_000
    with pytest.raises(UsageError, match="more than 5 bytes"):
        read_prompt(None, prompt_file="/dev/zero", limit_bytes=5)
    assert read_prompt(None, stdin=io.BytesIO(b"12345"), limit_bytes=5).text == "12345"


def test_a_pipe_that_does_not_block_is_waited_for():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)

    def write() -> None:
        for part in (b"slow", b"ly"):
            time.sleep(0.05)
            os.write(writing, part)
        os.close(writing)

    threading.Thread(target=write).start()
    with os.fdopen(reading, "rb") as stdin:
        assert read_prompt(None, stdin=stdin).text == "slowly"


def test_a_template_puts_its_text_around_the_prompt():
    prompt = Prompt.of("Hi <|user|>")
    assert apply_template("<|user|>\n{}\n<|assistant|>\n", prompt).pieces == (
        ("<|user|>\n", True),
        ("Hi <|user|>", False),
        ("\n<|assistant|>\n", True),
    )
    assert apply_template("{}", prompt) == prompt
    assert apply_template("Q: {} {x} }{", Prompt.of("{}", special=True)).pieces == (("Q: ", True), ("{}", True), (" {x} }{", True))
    assert apply_template("<|user|>{}", Prompt()).text == "<|user|>"


@pytest.mark.parametrize(("template", "count"), [("", 0), ("no place", 0), ("{ }", 0), ("{}{}", 2), ("a {} b {} c {}", 3)])
def test_a_template_holds_the_place_once(template, count):
    with pytest.raises(UsageError, match=f"{count} times"):
        apply_template(template, Prompt.of("p"))


def test_a_prompt_that_cannot_fit():
    refuse_too_long(1000, 100, 10)
    with pytest.raises(UsageError, match=r"1,001 bytes .* 100 tokens of at most 10 bytes"):
        refuse_too_long(1001, 100, 10)
