"""No row of text changes after it was written, whatever the panel does: checked against a screen that got the text alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencli.panel import FEWEST_COLUMNS, FEWEST_ROWS, Panel
from proofs import quick
from screen import Screen


class Beside:
    """The same text on two screens, one of them with a panel; every write is checked."""

    def __init__(self, columns: int = 80, lines: int = 24, honest: bool = True) -> None:
        self.screen, self.alone = Screen(columns, lines, honest), Screen(columns, lines, honest)
        self.frames: list[str] = []
        self.panel = Panel(self._frame, lambda: (self.screen.columns, self.screen.lines))

    def _frame(self, written: str) -> None:
        self.frames.append(written)
        self.screen.put(written)
        if written == "\n":  # a line that is no part of the text follows
            self.alone.put(written)
        self.check()

    def text(self, text: str) -> None:
        self.panel.before(text)
        self.screen.put(text)
        self.alone.put(text)
        self.check()

    def draw(self, lines: int = 12) -> bool:
        columns, most = self.panel.room()
        return self.panel.draw(
            [f"{n:02d} \x1b[1;32m▉\x1b[0m".ljust(columns + len("\x1b[1;32m\x1b[0m"), "x") for n in range(min(lines, most))]
        )

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(lines, columns)
        self.alone.resize(lines, columns)

    def check(self) -> None:
        assert self.screen.row == self.alone.row
        stop = self.alone.row + 1
        start = max(stop - self.alone.lines, 0)  # what scrolled away before is compared at the end
        assert self.screen.rows(start, stop) == self.alone.rows(start, stop)
        assert self.screen.displays_erased == 0

    def finish(self) -> None:
        self.panel.settle()
        for screen in (self.screen, self.alone):
            screen.put("the summary\n")
        texts = self.screen.text(), self.alone.text()
        assert texts[0][: self.screen.row + 1] == texts[1][: self.alone.row + 1]
        assert not any(texts[0][self.screen.row + 1 :])


STORY = "Once upon a time, there was a dragon who lived under the bridge and pretended to be a rock.\n\nIt was warm. "


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (40, 10), (20, 6), (160, 40), (19, 24), (80, 5)])
def test_a_story_longer_than_the_screen(columns, lines):
    both = Beside(columns, lines)
    drawn = 0
    for word in (STORY * 8).split(" "):
        both.text(word + " ")
        drawn += both.draw()
    both.finish()
    big_enough = columns >= FEWEST_COLUMNS and lines >= FEWEST_ROWS
    assert bool(drawn) == big_enough


def test_the_panel_stands_under_the_text():
    both = Beside(80, 24)
    both.text("some text")
    assert both.draw(3)
    assert both.screen.text()[:5] == ["some text", *(f"{n:02d} ▉".ljust(79, "x") for n in range(3)), ""]
    assert (both.screen.cursor.x, both.screen.cursor.y) == (9, 0)


def test_text_that_goes_down_pushes_the_panel_before_it():
    both = Beside(80, 24)
    both.draw(4)
    both.text("a\nb\n")
    assert [row[:2] for row in both.screen.text()[:8]] == ["a", "b", "", "00", "01", "02", "03", ""]


def test_text_longer_than_what_is_left_of_the_window_removes_the_panel():
    both = Beside(40, 10)
    both.draw(6)
    both.text("\n" * 4)
    assert not any(both.screen.text())


def test_a_smaller_frame_leaves_nothing_of_a_larger_one():
    both = Beside(80, 24)
    both.draw(9)
    both.draw(2)
    assert sum(bool(row) for row in both.screen.text()) == 2


def test_text_that_ends_in_the_last_column_is_left_alone():
    both = Beside(40, 10)
    both.draw()
    both.text("x" * 40)
    assert not both.draw()
    both.text("y")
    assert both.draw()
    both.finish()


def test_the_last_row_of_the_screen():
    both = Beside(40, 10)
    both.text("line\n" * 30)
    assert both.draw()
    both.text("more " * 30)
    assert both.draw()
    both.finish()


def test_a_line_that_is_measured_wrongly_is_cut_not_wrapped():
    both = Beside(40, 10)
    both.text("text")
    both.panel.draw(["日" * 40, "x" * 100])
    both.text(" goes on")
    both.panel.erase()
    assert both.screen.text()[:4] == ["text goes on", "", "", ""]


def test_a_frame_is_one_write_that_never_erases_the_display():
    both = Beside()
    both.text("text")
    both.draw()
    (frame,) = both.frames
    assert "\x1b[2J" not in frame
    assert "\x1b[J" not in frame
    assert "\x1b[?1049" not in frame


@pytest.mark.parametrize("sizes", [[(40, 24)], [(120, 24)], [(80, 10)], [(80, 40)], [(30, 8), (100, 30)], [(10, 4), (80, 24)]])
def test_a_resize_in_the_middle(sizes):
    both = Beside()
    for size in [(80, 24), *sizes]:
        both.resize(*size)
        for word in (STORY * 3).split(" "):
            both.text(word + " ")
            both.draw()
    both.text("\n")
    both.finish()


@pytest.mark.parametrize("columns", quick([40, 61, 120, 55, 60], 3))
@pytest.mark.parametrize("filled", quick([1, 40, 80, 0, 39, 60, 79], 3))
@pytest.mark.parametrize("honest", [True, False])
def test_a_resize_while_the_panel_stands(columns, filled, honest):
    both = Beside(honest=honest)
    both.text("x" * filled)
    both.draw()
    both.resize(columns, 24)
    both.draw()
    for character in "yz" * 45:
        both.text(character)
        both.draw()
    both.finish()


@pytest.mark.parametrize(
    "text",
    [
        "日本語のテキストは幅が広い。" * 9,
        "e\u0301a\u0308 " * 40,
        "\u0301" * 5,
        "👩‍👩‍👧‍👦 ❤️ 🇩🇪 👍🏽 " * 9,
        "\ufffd\ufffd half " * 15,
        "क्षत्रिय हिन्दी " * 9,
        "\tdef f():\n\t\treturn 1\n" * 8,
        "a\tb\tc\t" * 20,
        "x" * 79 + "日" + "y" * 10,
        "x" * 80 + "\u0301" + "y" * 90,
        "x" * 79 + "\u200d日本" + "y" * 90,
    ],
)
@pytest.mark.parametrize("piece", [1, 7])
@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (40, 10)])
def test_characters_of_any_width(text, piece, columns, lines):
    both = Beside(columns, lines)
    for at in range(0, len(text), piece):
        both.text(text[at : at + piece])
        both.draw()
    both.text("\n")
    both.finish()


CHARACTERS = st.sampled_from(
    [
        *"abcdefgh    \n\n\t",
        "é",
        "日",
        "한",
        "ー",
        "😀",
        "\u0301",
        "\u200d",
        "\ufe0f",
        "🇩",
        "🏽",
        "\ufffd",
        "ﷺ",
        "क",
        "्",
        "ก",
        "ั",
        "\u1160",
        "’",
        "␛",
    ]
)
STEPS = st.one_of(
    st.text(CHARACTERS, min_size=1, max_size=12),
    st.text("abcdefghijk ", min_size=1, max_size=90),
    st.integers(0, 12),
    st.tuples(st.integers(18, 100), st.integers(4, 30)),
    st.none(),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=40), st.sampled_from([(80, 24), (40, 10), (21, 7)]), st.booleans())
def test_no_row_of_text_ever_changes(steps, size, honest):
    both = Beside(*size, honest)
    for step in steps:
        if isinstance(step, str):
            both.text(step)
        elif isinstance(step, int):
            both.draw(step)
        elif step is None:
            both.panel.erase()
        else:
            both.resize(*step)
    both.text("\n")
    both.finish()
