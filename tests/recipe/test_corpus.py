"""What is read, what is dropped, and what is held out."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from recipe import corpus
from recipe.blocked import LIST, blocked
from recipe.code import functions, table, without_header
from recipe.corpus import Sources, chat, documents, without_front


def test_every_ability_is_read_and_some_of_it_held_out(sources: Sources) -> None:
    texts = documents(sources)
    for ability in corpus.ABILITIES:
        held = [each for each in texts if each.ability == ability and each.held]
        trained = [each for each in texts if each.ability == ability and not each.held]
        assert 0 < len(held) < len(trained), ability
    assert {each.name for each in texts if each.held and each.ability in ("prose", "modules")} == {"top_k", "bar.py"}
    assert documents(sources) == texts


def test_no_trained_text_is_a_held_one(sources: Sources) -> None:
    texts = documents(sources)
    for ability in corpus.ABILITIES:
        held = {each.text for each in texts if each.ability == ability and each.held}
        assert not held & {each.text for each in texts if each.ability == ability and not each.held}
    functions_of_held = [each for each in texts if each.name.startswith("bar.py:")]
    assert functions_of_held
    assert all(each.held for each in functions_of_held)


def test_doubles_are_dropped(sources: Sources, tmp_path: Path) -> None:
    twice = tmp_path / "stories.txt"
    text = sources.stories.read_text(encoding="utf-8")
    twice.write_text(text + "<|endoftext|>\n" + text.replace("Once", "ONCE"), encoding="utf-8")
    both = Sources(sources.prose, twice, sources.chat, sources.code, sources.held)
    assert len(documents(both)) == len(documents(sources))


def test_a_blocked_word_drops_a_story_and_a_paragraph(sources: Sources, tmp_path: Path) -> None:
    import codecs

    word = codecs.decode(LIST.read_text().split()[0], "rot13")
    assert blocked(f"So {word.upper()}S, he said")
    assert not blocked("so he said it " + "x".join(word))
    (tmp_path / "prose").mkdir()
    (tmp_path / "prose" / "book.txt").write_text(f"One.\n\nTwo {word}.\n\nThree.\n")
    assert [text for _, _, text, _ in corpus.prose(tmp_path / "prose", [])] == ["One.\n\nThree.\n"]


def test_prefaces_and_tables_of_contents_are_dropped() -> None:
    story = [f"Paragraph {number} of the story, which is a good deal longer than any heading is." for number in range(60)]
    contents = "\n".join(f"{number}. Chapter of that number" for number in range(9))
    front = ["PREFACE", "I thank my friends for their help.", "And my publisher.", "CONTENTS", contents]
    book = [*front, "CHAPTER I", *story, "CONTENTS", "late"]
    assert without_front(book) == ["CHAPTER I", *story, "CONTENTS", "late"]


def test_a_conversation_is_written_as_the_template_writes_it() -> None:
    from recipe.export import TEMPLATE

    jinja2 = pytest.importorskip("jinja2")
    messages = [("user", "Hello"), ("assistant", "Hi!"), ("user", "Bye")]
    asked = jinja2.Template(TEMPLATE).render(messages=[{"role": role, "content": content} for role, content in messages])
    assert chat(messages) == asked == "<|user|>\nHello\n<|assistant|>\nHi!\n<|user|>\nBye\n"


def test_functions_stand_alone_and_parse() -> None:
    body = "\n".join(f"        total += values[{number}]  # so long that it counts" for number in range(3))
    source = f"class A:\n    @property\n    def many(self, values):\n        total = 0\n{body}\n        return total\n"
    ((name, text),) = functions(ast.parse(source), source)
    assert name == "many"
    assert text.startswith("def many(self, values):\n    total = 0\n")
    assert ast.parse(text)


def test_licences_and_tables_are_no_program() -> None:
    assert without_header("#!/usr/bin/env python\n# Copyright\n\n'''Doc.'''\nimport os\n") == "'''Doc.'''\nimport os\n"
    assert table("x = [" + ", ".join(map(str, range(1000))) + "]")
    assert not table(Path(__file__).read_text(encoding="utf-8"))
