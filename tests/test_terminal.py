"""The two channels: bytes as they are, failures as sentences, and nothing that a terminal would obey."""

from __future__ import annotations

import os
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gencli.errors import RunError
from gencli.terminal import FALLBACK_SIZE, Messages, Output, ReaderGone, colour_of, encode, visible, write_all
from streams import abandon, as_descriptor, pipe, terminal

HOSTILE = "\x1b[2J\x1b]0;title\x07\x9b2J\x00\x7f\r\x08\x0e\x85\x1bc"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


# what a terminal may see


@given(st.text(st.characters(codec=None)))
def test_nothing_that_a_terminal_obeys_is_left(text):
    shown = visible(text)
    assert not [c for c in shown if (c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f"]
    assert shown.count("\n") == text.count("\n")


@given(st.text(st.characters(codec=None)))
def test_one_line_is_one_line_of_text_that_utf8_has(text):
    shown = visible(text, on_one_line=True)
    assert not [c for c in shown if c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029\u202e\u2066"]
    encode(shown).decode()


@given(st.text(st.characters(blacklist_categories=("Cc", "Cs"))))
def test_everything_else_passes(text):
    assert visible(text) == text


def test_how_controls_look():
    assert visible("a\x1b[1mb\x7f\x9bc\n\t") == "a␛[1mb␡\\x9bc\n\t"
    assert visible("a\nb\tc\u202ed\udcff", on_one_line=True) == "a␊b␉c\\u202ed\\xff"


def test_half_a_surrogate_pair_becomes_a_replacement():
    assert encode("a\ud800b") == "a\ufffdb".encode()


# the product


def test_a_pipe_gets_its_bytes_untouched():
    with pipe(1) as read:
        output = Output()
        assert (output.terminal, output.pipe) == (False, True)
        output.write(HOSTILE + "日本\n")
        output.write("")
        output.close()
        assert os.read(read, 1000) == (HOSTILE + "日本\n").encode()


def test_a_terminal_gets_them_visible():
    with terminal(1) as screen:
        output = Output()
        assert (output.terminal, output.pipe) == (True, False)
        output.write(HOSTILE + "text\n\t")
        written = screen.read()
    assert written.endswith("text\n\t")
    assert not [c for c in written if (c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f"]


def test_styled_text_was_made_visible_before():
    with terminal(1) as screen:
        Output().styled("\x1b[1mbold\x1b[0m")
        assert screen.read() == "\x1b[1mbold\x1b[0m"


def test_a_file_gets_its_bytes_untouched_and_is_emptied_first(tmp_path):
    path = tmp_path / "story.txt"
    path.write_text("something longer than what comes")
    output = Output(path)
    assert (output.terminal, output.pipe) == (False, False)
    output.write(HOSTILE)
    output.close()
    output.close()
    assert path.read_bytes() == HOSTILE.encode()


def test_every_write_has_left_before_it_returns(tmp_path):
    output = Output(tmp_path / "text")
    for count in range(1, 4):
        output.write("x")
        assert (tmp_path / "text").read_text() == "x" * count
    output.close()


def test_who_watches_is_told_before_the_text_is_written(tmp_path):
    told, path = [], tmp_path / "text"
    output = Output(path)
    output.watch = lambda text: told.append((text, path.read_text()))
    output.write("a")
    output.write("b")
    output.close()
    assert told == [("a", ""), ("b", "a")]


def test_a_reader_that_went_is_told_once():
    with pipe(1) as read:
        output = Output()
        abandon(read)
        with pytest.raises(ReaderGone):
            output.write("text")
        output.write("more")  # who cleans up meets no second failure
        output.close()


def test_a_closed_stdout_is_a_sentence():
    with as_descriptor(1, None):
        output = Output()
        with pytest.raises(RunError, match="cannot write to stdout: bad file descriptor"):
            output.write("text")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_a_sentence():
    full = os.open("/dev/full", os.O_WRONLY)
    with as_descriptor(1, full):
        output = Output()
        with pytest.raises(RunError, match=r"cannot write to stdout: no space left on device\."):
            output.write("text")
        output.write("more")
    os.close(full)
    output = Output("/dev/full")
    with pytest.raises(RunError, match="cannot write to /dev/full: no space left on device"):
        output.write("text")
    output.close()


@pytest.mark.parametrize("name", ["no/such/folder/x", "\x1b]0;owned\x07/x", "a\0b", "."])
def test_a_file_that_cannot_be_opened_is_a_sentence_on_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="cannot write to ") as failure:
        Output(name)
    assert visible(str(failure.value), on_one_line=True) == str(failure.value)


def test_a_slow_reader_gets_every_byte_of_a_descriptor_that_does_not_block():
    read, write = os.pipe()
    os.set_blocking(write, False)
    data = bytes(range(256)) * 4096
    got = bytearray()

    def consume():
        while len(got) < len(data):
            time.sleep(0.001)
            got.extend(os.read(read, 1 << 17))

    reader = threading.Thread(target=consume)
    reader.start()
    assert write_all(write, data) == len(data)
    reader.join()
    os.close(read)
    os.close(write)
    assert bytes(got) == data


class Impatient(BaseException):
    pass


def test_after_an_interrupt_in_a_write_nothing_more_is_written(tmp_path, monkeypatch):
    output = Output(tmp_path / "text")

    def interrupted(descriptor, data):
        raise Impatient

    with monkeypatch.context() as patch:
        patch.setattr("gencli.terminal.write_all", interrupted)
        with pytest.raises(Impatient):
            output.write("text")
    output.write("more")
    output.close()
    assert (tmp_path / "text").read_text() == ""


# the person


def test_messages_are_one_line_each_and_visible():
    with pipe(2) as read:
        messages = Messages()
        messages.warning("no such\nfile \x1b[31m")
        messages.error("a\tb")
        messages.line("usage:\n  \x1b")
        assert os.read(read, 1000).decode() == "gencli: warning: no such␊file ␛[31m\ngencli: a␉b\nusage:\n  ␛\n"


def test_quiet_leaves_errors():
    with pipe(2) as read:
        messages = Messages(quiet=True)
        messages.warning("unheard")
        messages.error("heard")
        assert os.read(read, 1000) == b"gencli: heard\n"


def test_a_closed_stderr_is_ignored():
    with as_descriptor(2, None):
        messages = Messages()
        messages.error("unheard")
        assert not messages.terminal
        assert messages.size() == FALLBACK_SIZE


def test_a_reader_of_stderr_that_went_is_ignored():
    with pipe(2) as read:
        abandon(read)
        Messages().error("unheard")


def test_a_panel_makes_room_for_a_line():
    with pipe(2) as read:
        messages = Messages()
        messages.lift = lambda: messages.raw("(lifted)")
        messages.warning("text")
        assert os.read(read, 1000) == b"(lifted)gencli: warning: text\n"


def test_the_size_is_that_of_this_moment():
    with terminal(2, columns=80, lines=24) as screen:
        messages = Messages()
        assert messages.size() == (80, 24)
        screen.resize(40, 10)
        assert messages.size() == (40, 10)
        screen.resize(0, 0)
        assert messages.size() == FALLBACK_SIZE


def test_a_dumb_terminal_draws_nothing(monkeypatch):
    with terminal(2):
        assert Messages().draws
        monkeypatch.setenv("TERM", "dumb")
        assert (Messages().terminal, Messages().draws, Messages().colour) == (True, False, "none")


@pytest.mark.parametrize(
    ("environment", "on_terminal", "in_pipe"),
    [
        ({}, "standard", "none"),
        ({"NO_COLOR": "1"}, "attributes", "none"),
        ({"NO_COLOR": ""}, "standard", "none"),
        ({"FORCE_COLOR": "1"}, "standard", "standard"),
        ({"FORCE_COLOR": "0"}, "standard", "none"),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, "attributes", "attributes"),
        ({"TERM": "dumb"}, "none", "none"),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, "standard", "standard"),
    ],
)
def test_colour_follows_the_environment(environment, on_terminal, in_pipe, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (colour_of(True), colour_of(False)) == (on_terminal, in_pipe)
