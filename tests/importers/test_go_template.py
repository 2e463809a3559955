"""Go templates: exactly what ollama would send, or a sentence; against templates built from parts whose rendering is known."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencli.errors import UsageError
from gencli.importers._go_template import DEEPEST, template_of

SPACE = " \t\r\n"


@dataclass(frozen=True)
class Action:
    """{{ word }} with its trim marks; `branches` are what stands between if, else and end."""

    word: str
    before: bool = False
    after: bool = False


def written(parts: list) -> str:
    return "".join(each if isinstance(each, str) else "{{" + "- " * each.before + each.word + " -" * each.after + "}}" for each in parts)


def rendered(parts: list, system: str) -> str:
    """What Go makes of the parts: a slow reading, trims first, then the cut at the answer, then the branches."""
    texts = list(parts)
    for at, each in enumerate(parts):
        if isinstance(each, Action) and each.before and at and isinstance(texts[at - 1], str):
            texts[at - 1] = texts[at - 1].rstrip(SPACE)
        if isinstance(each, Action) and each.after and at + 1 < len(parts) and isinstance(texts[at + 1], str):
            texts[at + 1] = texts[at + 1].lstrip(SPACE)
    words = [each.word if isinstance(each, Action) else None for each in parts]
    texts = texts[: words.index(".Response")] if ".Response" in words else texts
    open_, out = [], ""
    for each in texts:
        if isinstance(each, str):
            out += each if all(open_) else ""
        elif each.word.startswith("if "):
            open_.append({"if .System": bool(system), "if .Prompt": True, "if .Response": False}[each.word])
        elif each.word == "else":
            open_[-1] = not open_[-1]
        elif each.word == "end":
            open_.pop()
        elif all(open_):
            out += {".System": system, ".Prompt": "\0"}.get(each.word, "")
    return out


texts = st.text(alphabet=" \t\nab<|>}\u3000\xa0\x85é", min_size=1, max_size=6)
marks = st.booleans()


def actions(*words: str) -> st.SearchStrategy[Action]:
    return st.builds(Action, st.sampled_from(words), marks, marks)


def blocks(inner: st.SearchStrategy[list]) -> st.SearchStrategy[list]:
    """if ... end and if ... else ... end around what `inner` gives."""
    opened = actions("if .System", "if .Prompt", "if .Response")
    plain = st.tuples(opened, inner, actions("end")).map(lambda parts: [parts[0], *parts[1], parts[2]])
    turned = st.tuples(opened, inner, actions("else"), inner, actions("end")).map(lambda p: [p[0], *p[1], p[2], *p[3], p[4]])
    return plain | turned


leaves = (texts | actions(".System", ".Prompt", ".Response", "/* a comment */")).map(lambda each: [each])
templates = st.recursive(
    leaves,
    lambda inner: blocks(inner) | st.lists(inner, max_size=4).map(lambda lists: [each for parts in lists for each in parts]),
    max_leaves=12,
)


def joined(parts: list) -> list:
    """Texts that stand side by side are one text, as a reader sees them."""
    out: list = []
    for each in parts:
        if isinstance(each, str) and out and isinstance(out[-1], str):
            out[-1] += each
        else:
            out.append(each)
    return out


@given(templates, st.sampled_from(["", "be kind", " {", "{{ end }}"]))
def test_a_template_of_known_parts_is_rendered_exactly_or_refused_for_its_prompt(parts: list, system: str) -> None:
    parts = joined(parts)
    found, expected = template_of(written(parts), system), rendered(parts, system)
    if expected.count("\0") == 1 and "{}" not in expected:
        assert found == expected.replace("\0", "{}")
    else:
        assert isinstance(found, UsageError)
        assert ("the prompt stands in it" if expected.count("\0") != 1 else "as a text") in str(found)


FRAGMENTS = (
    "{{",
    "}}",
    "-",
    " ",
    ".Prompt",
    ".System",
    ".Response",
    "if ",
    "else",
    "end",
    "/*",
    "*/",
    "range ",
    "|",
    "$x := 1",
    "\n",
    '"',
    "`",
    "{}",
    "{",
    "\u3000",
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join) | st.text(max_size=30))
def test_whatever_stands_in_it_is_a_template_or_a_sentence(text: str) -> None:
    found = template_of(text.replace("\0", ""), "kind")
    if isinstance(found, UsageError):
        assert str(found).endswith(".")
        assert len(str(found)) < 300
    else:
        assert found.count("{}") == 1
        assert ".Prompt" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ .Prompt", "a {{ in it has no }}"),
        ("{{ if .System }}x{{ .Prompt }}", "a condition in it has no {{ end }}"),
        ("{{ .Prompt }}{{ end }}", "cannot say {{ end }}"),
        ("{{ .Prompt }}{{ else }}", "cannot say {{ else }}"),
        ("{{ if .System }}{{ else }}{{ else }}{{ end }}{{ .Prompt }}", "cannot say {{ else }}"),
        ("{{ if .System }}{{ else if .Prompt }}{{ end }}{{ .Prompt }}", "cannot say {{ else if .Prompt }}"),
        ("{{-.Prompt }}", "cannot say {{ -.Prompt }}"),  # Go wants a space behind the mark
        ("{{ /* loose */ }}{{ .Prompt }}", "cannot say {{ /* loose */ }}"),  # and none around a comment
        ("{{/* a */ b */}}{{ .Prompt }}", "cannot say {{ /* a */ b */ }}"),
        ("{{/*/}}{{ .Prompt }}", "cannot say {{ /*/ }}"),
        ("{{ }}{{ .Prompt }}", "cannot say {{  }}"),
        (
            "{{ .Prompt }}{{ .Response }}{{ range .Messages }}{{ end }}",
            "cannot say {{ range .Messages }}",
        ),  # filled otherwise
        ("{{ .Prompt\u00a0}}", "cannot say"),
        ("{{ printf .Prompt }}", "cannot say {{ printf .Prompt }}"),
        ("{{ if .System }}" * (DEEPEST + 1) + "{{ end }}" * (DEEPEST + 1) + "{{ .Prompt }}", f"more than {DEEPEST} deep"),
        ("{{ .Prompt }}{{ .Prompt }}", "the prompt stands in it 2 times"),
        ("{} {{ .Prompt }}", "it holds {} as a text"),
        ("{" * 100_000, "a {{ in it has no }}"),
        ("{{ " + "x" * 100_000 + " }}", "cannot say {{ xxx"),
    ],
)
def test_what_a_plain_text_cannot_say_is_a_sentence(text: str, said: str) -> None:
    found = template_of(text, "kind")
    assert isinstance(found, UsageError)
    assert said in str(found)
    assert len(str(found)) < 300


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ .Prompt }}", "{}"),
        ("<u>{{ .Prompt }}<a>{{ .Response }}<e>", "<u>{}<a>"),
        # the answer cuts the rest off wherever it stands, in a branch that is not taken as well
        ("{{ .Prompt }}{{ if .Response }}<a>{{ .Response }}{{ end }}<e>", "{}"),
        ("\u3000{{- .Prompt -}}\u3000 x", "\u3000{}\u3000 x"),  # Go trims four characters, not all of Unicode's spaces
        ("a \n\t{{- .Prompt -}}\r\n b", "a{}b"),
        ("{{- /* why */ -}} {{\n.Prompt\n}}", "{}"),
        ("{{ .Prompt }}}", "{}}"),
    ],
)
def test_what_it_can_say_is_exact(text: str, expected: str) -> None:
    assert template_of(text, "kind") == expected
