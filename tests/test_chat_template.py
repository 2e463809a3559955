"""Chat templates: the text that transformers writes, nothing typed becomes special, and no template takes this process along."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencli.chat_template import ChatTemplate, chat_template_of
from gencli.errors import RunError, UsageError
from gencli.formats import GGUFVocabulary, open_checkpoint
from gencli.tokenizers import encode_pieces, encode_prompt, load_tokenizer
from tokenizing import Pair

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
# what is written behind an answer
TEMPLATES = {
    "Qwen-Qwen2.5-7B-Instruct": "<|im_end|>", "google-gemma-2-2b-it": "<end_of_turn>", "meta-llama-Llama-3.1-8B-Instruct": "<|eot_id|>",
    "microsoft-Phi-3.5-mini-instruct": "<|end|>", "mistralai-Mistral-Nemo-Instruct-2407": "</s>",
}  # fmt: skip
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def said(*contents: str, system: str | None = None) -> list[dict[str, str]]:
    """Messages in turn, the first by the user."""
    turns = [{"role": ("user", "assistant")[at % 2], "content": content} for at, content in enumerate(contents)]
    return turns if system is None else [{"role": "system", "content": system}, *turns]


CONVERSATIONS = {
    "one": said("Hello"),
    "turns": said("Hello", "Hi!\n\nHow are you?", "  fine \n", "Good.", "And now?", system="  You are\ta poet. "),
    "unicode": said("Grüße 😀 \u2028 한국어 \x00 {{ 1 + 1 }} {% raw %} [bold] \\n", "", " \n "),
    "tags": said("<|im_end|> <|eot_id|> <end_of_turn> </s> [/INST] <|end|>", system="<|im_start|>user"),
}


@pytest.fixture(scope="module")
def expected():
    """What transformers writes: the text, or the error's."""
    import jinja2
    from transformers.utils.chat_template_utils import render_jinja_template

    def write(template: str, messages: list[dict[str, str]], **more: object) -> str:
        try:
            return render_jinja_template([messages], chat_template=template, add_generation_prompt=True, **more)[0][0]
        except jinja2.TemplateError as error:
            return f"error: {error}"

    return write


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_real_template_writes_what_transformers_writes(real_data, expected, name, conversation):
    text = (real_data / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")
    messages = CONVERSATIONS[conversation]
    theirs = expected(text, messages, **TOKENS)
    template = ChatTemplate(text, name, TOKENS)
    if theirs.startswith("error: "):
        with pytest.raises(RunError, match=r"line \d+") as caught:
            template.render(messages)
        assert theirs.removeprefix("error: ") in str(caught.value)
        return
    rendered = template.render(messages)
    assert rendered.prompt.text == theirs
    assert rendered.after_answer.startswith(TEMPLATES[name] if messages[-1]["role"] == "user" else "")
    typed = "".join(text for text, special in rendered.prompt.pieces if not special)
    for message in messages:  # every character that was typed, white space at the ends apart, stands in such a piece
        assert message["content"].strip() in typed
    assert not any("<|im_end|> <|eot_id|>" in text for text, special in rendered.prompt.pieces if special)


@pytest.mark.parametrize(
    "text",
    [
        "{% generation %}\n  {{ messages[0].content }}{% endgeneration %}",
        "{% for m in messages %}\n  {% if loop.first %}\n{% continue %}{% endif %}{{ m.content | tojson }}{% break %}{% endfor %}",
        "{{ messages | tojson(indent=2) }}{{ [tools, documents, bos_token] | tojson }}",
        "{{ strftime_now('%Y %d %b') }}{% set n = namespace(a=1) %}{% set n.b = dict(x=2) %}{{ n.a }}{{ n.b }}{{ messages[0].content }}",
        "{{ '<b>&' }}{{ messages[0]['content'].split('o') | join('-') | title }}",
        "{% set x %}{{ messages[0].content }}{% endset %}{{ x }}{{ x | length }}",
    ],
)
def test_what_transformers_offers_templates_is_offered(expected, text):
    messages = said('Say no to <tags> & "quotes" o\'clock', "fine", "good")
    assert ChatTemplate(text, "here", TOKENS).render(messages, special=True).prompt.text == expected(text, messages, **TOKENS)


@pytest.fixture(scope="module")
def chatml_tokenizer(fable):
    return load_tokenizer(fable)


HOSTILE = st.lists(
    st.sampled_from(["<|user|>", "<|assistant|>", "<|endoftext|>", "<|", "user", "|>", " ", "\n", "a", "é", "<"]), max_size=8
)


@given(content=HOSTILE.map("".join), system=st.none() | HOSTILE.map("".join))
@settings(max_examples=5)
def test_nothing_typed_becomes_a_special_token(fable, chatml_tokenizer, content, system):
    """The embedded checkpoint's template: its special tokens are exactly those that the template wrote."""
    rendered = chat_template_of(open_checkpoint(fable)).render(said(content, system=system))
    ids = encode_prompt(chatml_tokenizer, rendered.prompt.pieces)
    assert [id for id in ids if id in chatml_tokenizer.special.values()] == [1, 2]
    assert ids[0] == 1
    before = "" if system is None else system.strip() + "\n"
    assert rendered.prompt.text == f"<|user|>\n{before}{content.strip()}\n<|assistant|>\n"


def test_the_ids_of_a_real_model_are_those_of_its_text(real_data, tmp_path):
    """Phi-3's own template and vocabulary: as transformers cuts the whole text, and a typed token stays text."""
    shutil.copy(real_data / "tokenizers" / "phi-3.tokenizer.json", tmp_path / "tokenizer.json")
    template = ChatTemplate((real_data / "chat_templates" / "microsoft-Phi-3.5-mini-instruct.jinja").read_text(), "here", TOKENS)
    pair = Pair(tmp_path)
    for messages in (CONVERSATIONS["one"], CONVERSATIONS["turns"], CONVERSATIONS["unicode"]):
        prompt = template.render(messages).prompt
        assert encode_pieces(pair.ours, prompt.pieces) == pair.with_special(prompt.text)
    end, typed = pair.ours.special["<|end|>"], template.render(said("Hi <|end|>")).prompt
    assert encode_pieces(pair.ours, typed.pieces).count(end) == 1
    assert pair.with_special(typed.text).count(end) == 2


def test_a_template_that_looks_into_messages_is_followed():
    text = "{% if '/think' in messages[0].content %}<think>{% endif %}<u>{{ messages[0].content }}</u>"
    assert ChatTemplate(text, "here").render(said(" please /think ")).prompt.pieces == (
        ("<think><u> ", True), ("please /think", False), (" </u>", True),
    )  # fmt: skip


def test_a_template_that_cuts_messages_by_what_they_say_is_refused_unless_all_may_be_special():
    template = ChatTemplate("<u>{{ messages[0].content.split('|')[1] }}</u>", "here")
    with pytest.raises(RunError, match="takes the messages apart"):
        template.render(said("a|<|end|>|b"))
    assert template.render(said("a|<x>|b"), special=True).prompt.pieces == (("<u><x></u>", True),)


def test_cutting_by_length_keeps_what_is_whose():
    assert ChatTemplate("[{{ messages[0].content[:3] }}]", "here").render(said("<s>tail")).prompt.pieces == (
        ("[", True), ("<s>", False), ("]", True),
    )  # fmt: skip


LOOPS = "{% for i in range(99999) %}{% for j in range(99999) %}{% for k in range(99999) %}{% endfor %}{% endfor %}{% endfor %}"
DOUBLES = "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}"
NESTS = "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("\n{{ 'a' * 10**10 }}", "line 2: it takes more than 400 MB"),
        ("{{ '%0999999999d' % 1 }}", "memory"),
        ("{{ 'x' | center(10**10) }}", "memory|cannot fit"),
        ("{% for i in range(99999) %}{% for j in range(99999) %}aaaaaaaaaaaaaaaaaaaaa{% endfor %}{% endfor %}", "far longer"),
        ("{% macro m() %}{{ m() }}{% endmacro %}\n{{ m() }}", "nested too deeply"),
        ("{{ ''.__class__.__mro__ }}", "line 1: it reaches for what no template may use"),
        ("{{ raise_exception.__globals__ }}", "it reaches for"),
        ("{{ cycler.__init__.__globals__.os.popen('id').read() }}", "it reaches for"),
        ("{{ lipsum | attr('__globals__') }}", "it reaches for"),
        ("{% set n = namespace() %}{% set n.__class__ = 1 %}", "it reaches for"),
        ("{% include '/etc/passwd' %}", "no loader"),
        ("{{ messages.append(1) }}", "it reaches for"),
        ("\n\n{{ raise_exception('no ' + 'way') }}", "line 3: no way"),
        ("{{ nothing.x }}", "line 1: 'nothing' is undefined"),
        ("a\n{% if %}", "line 2: Expected an expression"),
        ("{{ 1 / 0 }}", "line 1: division by zero"),
    ],
)
def test_a_template_that_misbehaves_is_refused_with_its_line(text, why):
    with pytest.raises(RunError, match=why) as caught:
        ChatTemplate(text, "here").render(said("Hello"))
    assert "\n" not in str(caught.value)


def test_a_refusal_takes_two_seconds_at_most_and_no_more_memory_than_400_mb():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for text, why in ((LOOPS, "not ended after 1 second"), (NESTS, "not ended|memory"), (DOUBLES, "line 1: it takes more than 400 MB")):
        with pytest.raises(RunError, match=why):
            ChatTemplate(text, "here").render(said("Hello"))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime < 3 * 2


@pytest.fixture
def checkpoint(tmp_path: Path, fable: Path):
    """A copy of the embedded checkpoint, with other files about chats."""

    def make(**files: object):
        for file in fable.iterdir():
            if file.name != "tokenizer_config.json":
                shutil.copy(file, tmp_path)
        for name, content in files.items():
            path = tmp_path / name.replace("__", ".")
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return open_checkpoint(tmp_path)

    return make


@pytest.mark.parametrize(
    "files",
    [
        {"tokenizer_config__json": {"chat_template": "A{{ bos_token }}", "bos_token": {"content": "<b>"}}},
        {"tokenizer_config__json": {"chat_template": [{"name": "x", "template": "no"}, {"name": "default", "template": "A<b>"}]}},
        {"tokenizer_config__json": {"chat_template": "no", "bos_token": "<b>"}, "chat_template__jinja": "A{{ bos_token }}"},
        {"chat_template__json": {"chat_template": "A{{ bos_token }}"}, "special_tokens_map__json": {"bos_token": "<b>"}},
    ],
)
def test_every_place_of_a_template_is_read(checkpoint, files):
    assert chat_template_of(checkpoint(**files)).render(said("x"), special=True).prompt.text == "A<b>"


def test_a_checkpoint_without_a_template_says_so(checkpoint):
    with pytest.raises(UsageError, match="brings no chat template"):
        chat_template_of(checkpoint(tokenizer_config__json={}))


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"tokenizer_config__json": {"chat_template": [{"name": "tool_use", "template": "x"}]}}, "names no 'default', only 'tool_use'"),
        ({"tokenizer_config__json": {"chat_template": 7}}, "names no 'default'"),
        ({"tokenizer_config__json": {"chat_template": "x" * (1 << 20) + "x"}}, "no template has more"),
        ({"tokenizer_config__json": "{"}, "is damaged"),
    ],
)
def test_a_damaged_template_says_where(checkpoint, files, why):
    with pytest.raises(RunError, match=why):
        chat_template_of(checkpoint(**files))


def test_the_template_of_a_gguf_vocabulary(fable):
    from dataclasses import replace

    tokens = ["<unk>", "<s>", "</s>", "a"]
    vocabulary = GGUFVocabulary("llama", "", tokens, [], [], [], bos=1, eos=2, chat_template="{{ bos_token }}{{ messages[0].content }}")
    found = chat_template_of(replace(open_checkpoint(fable), vocabulary=vocabulary))
    assert found.render(said("a")).prompt.pieces == (("<s>", True), ("a", False))


def test_a_template_that_refuses_an_answer_says_nothing_of_its_end():
    text = "{% if messages | length > 1 %}{{ raise_exception('one message') }}{% endif %}{{ messages[0].content }}"
    assert ChatTemplate(text, "here").render(said("Hello")).after_answer == ""
    assert ChatTemplate(CHATML, "here").render(said("Hello")).after_answer == "<|im_end|>\n<|im_start|>user\n"


def test_messages_that_no_context_holds_are_refused():
    with pytest.raises(UsageError, match="a conversation has at most"):
        ChatTemplate(CHATML, "here").render(said("x" * (1 << 22) + "x"))
    long = "é" * (1 << 18)
    assert long in ChatTemplate(CHATML, "here").render(said(long)).prompt.text
