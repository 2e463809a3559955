"""Presets: inheritance, writing them down, what of them becomes public, and the shipped ones."""

from __future__ import annotations

import json
import math
import os
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gencli import shipped
from gencli.errors import UsageError
from gencli.pipeline import Pipeline
from gencli.preset import DEFAULTS, Preset, StageSettings, Value, preset_names
from gencli.registry import find, names
from gencli.stages import knobs as knobs_of
from recorded import plain_vocabulary


def write(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def knobs(preset):
    return [(each.stage, {name: value.value for name, value in each.knobs}) for each in preset.pipeline]


def values(preset):
    return knobs(preset), {key: value.value for key, value in preset.settings}, preset.description


# inheritance


def test_a_child_replaces_what_it_says_and_keeps_the_rest(tmp_path):
    write(
        tmp_path,
        parent="description: p\npipeline: [top_k: 5]\nstop: [a]\nmax_new_tokens: 3",
        child="extends: ./parent.yaml\nstop: [b]",
        other="extends: parent.yaml\npipeline:\n  - top_p: 0.5\ndescription: mine",
    )
    child = Preset.load(tmp_path / "child.yaml")
    assert values(child) == ([("top_k", {"k": 5})], {"stop": ("b",), "max_new_tokens": 3}, "")
    assert dict(child.settings)["max_new_tokens"].origin == "preset parent (parent.yaml, line 4)"
    assert dict(child.settings)["stop"].origin == "preset child (child.yaml, line 2)"
    assert (child.name, child.path) == ("child", str(tmp_path / "child.yaml"))
    assert values(Preset.load(tmp_path / "other.yaml")) == ([("top_p", {"p": 0.5})], {"stop": ("a",), "max_new_tokens": 3}, "mine")


def test_a_parent_is_found_by_name_or_from_the_folder_of_the_file(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    write(tmp_path, top="pipeline: [top_k: 7]")
    write(tmp_path / "deep", by_path="extends: ../top.yaml", by_name="extends: greedy")
    monkeypatch.chdir(tmp_path / "deep")
    assert knobs(Preset.load("../deep/by_path.yaml")) == [("top_k", {"k": 7})]
    assert knobs(Preset.load("by_name.yaml")) == [("temperature", {"temperature": 0.0})]
    assert knobs(Preset.loads("extends: ../top.yaml")) == [("top_k", {"k": 7})]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a": "extends: ./a.yaml"}, r"a.yaml, line 1: extends leads a preset back to itself \(a.yaml -> a.yaml\)"),
        (
            {"a": "stop: x\nextends: b.yaml", "b": "extends: c.yaml", "c": "extends: a.yaml"},
            r"c.yaml, line 1: .* itself \(a.yaml -> b.yaml -> c.yaml -> a.yaml\)",
        ),
        ({"a": "extends: b.yaml", "b": "extends: ./b.yaml"}, r"b.yaml, line 1: .* itself \(a.yaml -> b.yaml -> b.yaml\)"),
        ({"a": "extends: creativ"}, r"a.yaml, line 1: there is no preset 'creativ'. Did you mean 'creative'\? Choices: brainstorm"),
        ({"a": "extends: ./bb.yaml", "b": "stop: x"}, r"a.yaml, line 1: there is no preset file './bb.yaml'. Did you mean './b.yaml'\?"),
        ({"a": "extends: b.yaml", "b": "stop: 5"}, r"b.yaml, line 1: stop must"),
        ({"a": "extends: ''"}, r"a.yaml, line 1: extends must be a text that is not empty"),
    ],
)  # fmt: skip
def test_a_wrong_parent_is_an_error_that_tells_where(tmp_path, files, said):
    write(tmp_path, **files)
    with pytest.raises(UsageError, match=said):
        Preset.load(tmp_path / "a.yaml")


def test_a_link_does_not_hide_a_cycle(tmp_path):
    write(tmp_path, a="extends: ./link.yaml")
    (tmp_path / "link.yaml").symlink_to("a.yaml")
    with pytest.raises(UsageError, match="itself"):
        Preset.load(tmp_path / "a.yaml")


def test_a_very_long_chain_is_refused(tmp_path):
    write(tmp_path, **{f"p{n}": f"extends: p{n + 1}.yaml" for n in range(30)}, p30="stop: x")
    with pytest.raises(UsageError, match="more than 20 levels deep"):
        Preset.load(tmp_path / "p0.yaml")
    assert Preset.load(tmp_path / "p15.yaml").get("stop") == ("x",)


def test_a_users_preset_may_extend_the_shipped_one_it_shadows(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "gencli" / "presets"
    folder.mkdir(parents=True)
    write(folder, chat="extends: chat\nmax_new_tokens: 9", mine="extends: mine")
    chat = Preset.load("chat")
    assert chat.get("max_new_tokens") == 9
    assert chat.pipeline
    assert "configs" in str(shipped.folder("configs"))
    with pytest.raises(UsageError, match="itself"):
        Preset.load("mine")


def test_a_preset_can_come_through_a_pipe(tmp_path):
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text("pipeline: [top_k: 5]"))
    writer.start()
    assert knobs(Preset.load(pipe)) == [("top_k", {"k": 5})]
    writer.join()


# values


def test_get_and_defaults():
    preset = Preset.loads("max_new_tokens: 5")
    assert (preset.get("max_new_tokens"), preset.get("stop"), preset.get("stop", ())) == (5, None, ())
    assert Preset() == Preset(None, "", None, (), ())
    assert Preset().stages() == []


def test_a_preset_is_frozen():
    with pytest.raises(AttributeError):
        Preset().name = "x"  # type: ignore[misc]


def test_to_dict_is_complete_json_with_origins():
    preset = Preset.loads("description: d\npipeline:\n  - repetition_penalty: 1.2\n  - logit_bias: {a: -inf}\nstop: [x]", "p.yaml")
    found = json.loads(json.dumps(preset.to_dict(), allow_nan=False))
    assert (found["name"], found["description"], found["path"]) == (None, "d", None)
    assert found["pipeline"][0] == {
        "stage": "repetition_penalty",
        "origin": "p.yaml, line 3",
        "knobs": {
            "penalty": {"value": 1.2, "origin": "p.yaml, line 3"},
            "last": {"value": 0, "origin": "default"},
            "scope": {"value": "prompt+output", "origin": "default"},
        },
    }
    assert found["pipeline"][1]["knobs"]["entries"]["value"] == [["a", "-inf"]]
    assert list(found["settings"]) == list(DEFAULTS)
    assert found["settings"]["stop"] == {"value": ["x"], "origin": "p.yaml, line 5"}
    assert found["settings"]["max_new_tokens"] == {"value": 256, "origin": "default"}


def test_to_dict_tells_bound_ids_instead_of_texts():
    preset = Preset.loads("pipeline:\n  - logit_bias: {a: -inf, b: 1}\n  - top_k: 3")
    bound = [replace(preset.stages()[0][1], entries=((64, -math.inf), (65, 1.0))), preset.stages()[1][1]]
    entries, k = (next(iter(each["knobs"].values())) for each in preset.to_dict(bound)["pipeline"])
    assert (entries["value"], k["value"]) == ([[64, "-inf"], [65, 1.0]], 3)
    assert entries["origin"] == preset.pipeline[0].knobs[0][1].origin


# writing


def stage_settings():
    """Any stage with some of its knobs set to allowed values."""

    def of(knob):
        if knob.kind == "choice":
            return st.sampled_from(knob.choices)
        if knob.kind == "text":
            return TEXT | st.just("")
        if knob.kind == "map":
            tokens = st.integers(0, 10**6) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
            pair = st.tuples(tokens, st.floats(-1e4, 1e4) | st.just(float("-inf")))
            return st.lists(pair, max_size=3).map(tuple)
        if knob.kind == "words":
            return st.lists(st.integers(0, 10**6) | TEXT | st.lists(st.integers(0, 99), min_size=1, max_size=2).map(tuple), max_size=3).map(
                tuple
            )
        low, high = max(knob.low if knob.low is not None else -1e3, -1e9), min(knob.high if knob.high is not None else 1e3, 1e9)
        if knob.kind == "int":
            return st.integers(int(low), int(high))
        return st.floats(low, high, exclude_min=knob.open in ("low", "both"), exclude_max=knob.open in ("high", "both"))

    def settings(name):
        known = {knob.name: of(knob) for knob in knobs_of(find("stages", name))}
        chosen = st.sets(st.sampled_from(sorted(known))).flatmap(
            lambda keys: st.fixed_dictionaries({key: known[key] for key in sorted(keys)})
        )
        return chosen.map(lambda found: StageSettings(name, tuple((key, Value(value, "default")) for key, value in found.items())))

    return st.sampled_from(names("stages")).flatmap(settings)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "stop": st.lists(TEXT, max_size=3).map(tuple),
        "max_new_tokens": st.integers(1, 2**63),
        "end_tokens": st.lists(TEXT | st.integers(0, 10**6), max_size=3).map(tuple),
        "strategy": st.sampled_from(names("strategies")),
        "template": st.tuples(TEXT, TEXT).map("{}".join).filter(lambda text: text.count("{}") == 1),
    },
)


@given(st.lists(stage_settings(), max_size=4), SETTINGS, TEXT | st.just(""))
def test_what_is_written_reads_back_the_same(pipeline, settings, description):
    preset = Preset(
        description=description, pipeline=tuple(pipeline), settings=tuple((key, Value(value, "default")) for key, value in settings.items())
    )
    again = Preset.loads(preset.dumps())
    assert values(again) == values(preset)
    resolved = Preset.loads(preset.dumps(resolved=True))
    assert resolved.stages() == preset.stages()
    assert {**dict(values(resolved)[1]), **settings} == dict(values(resolved)[1])


def test_resolved_tells_every_origin():
    text = Preset.load("greedy").dumps(resolved=True)
    lines = [line for line in text.splitlines() if line.strip()]
    assert "      temperature: 0.0              # preset greedy (greedy.yaml, line 4)" in lines
    assert "max_new_tokens: 256                 # default" in lines
    assert "# end_tokens: the checkpoint's own  # default" in text


# the shipped ones

LESSON = {  # temperature, top-k, top-p; None: the table has no entry
    "code": ((0.2, 0.4), (10, 20), (0.8, 0.9)),
    "factual": ((0.3, 0.5), (5, 10), (0.5, 0.7)),
    "chat": ((0.7, 0.9), (20, 50), (0.85, 0.92)),
    "creative": ((0.8, 1.2), (40, 100), (0.9, 0.95)),
    "brainstorm": ((1.5, 1.5), None, (0.95, 0.95)),
}


def test_the_shipped_presets_are_these():
    assert set(LESSON) | {"greedy"} == {path.stem for path in (shipped.folder("configs") / "presets").glob("*.yaml")}
    assert {*LESSON, "greedy"} <= set(preset_names())


@pytest.mark.parametrize("name", LESSON)
def test_the_shipped_presets_lie_inside_the_lessons_table(name):
    preset = Preset.load(shipped.folder("configs") / "presets" / f"{name}.yaml")
    first = {each.stage: each.knobs[0][1].value for each in preset.pipeline}
    for stage, limits in zip(("temperature", "top_k", "top_p"), LESSON[name], strict=True):
        if limits is None:
            assert stage not in first
        else:
            assert limits[0] <= first[stage] <= limits[1]
    assert first.get("repetition_penalty") == (1.1 if name in ("chat", "creative") else None)
    assert preset.description
    assert preset.stages()


def test_greedy_is_temperature_zero_alone():
    assert knobs(Preset.load("greedy")) == [("temperature", {"temperature": 0.0})]


def test_the_chat_template_is_the_embedded_checkpoints():
    assert Preset.load("chat").get("template") == "<|user|>\n{}\n<|assistant|>\n"


@pytest.mark.parametrize("name", [*LESSON, "greedy"])
def test_every_shipped_preset_tells_how_its_order_was_chosen(name):
    text = (shipped.folder("configs") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert "order" in text.lower() or "first" in text.lower()


def test_a_default_yields_to_what_is_said():
    assert Preset().with_default("max_new_tokens", 40).settings == (("max_new_tokens", Value(40, "default")),)
    said = Preset.loads("max_new_tokens: 7\nstop: [x]\n")
    assert said.with_default("max_new_tokens", 40) == said
    assert said.with_default("strategy", "sample").get("stop") == ("x",)


FROM_JSON = """
description: "All sorts."
pipeline:
  - logit_bias: {5: -inf, " the": 1.5}
  - min_new_tokens: 4
  - repetition_penalty: {penalty: 1.2, last: 64, scope: output}
  - top_k: 3
  - top_k
stop: ["a", "\\n"]
max_new_tokens: 7
end_tokens: [3, "x"]
"""


def test_a_preset_comes_back_from_its_json_values():
    preset = Preset.loads(FROM_JSON)
    values = json.loads(json.dumps(preset.to_dict()))
    again = Preset.from_dict(values)
    assert again.to_dict() == values
    assert again.stages() == preset.stages()
    assert dict(again.settings) == dict(preset.settings)
    assert (again.name, again.description) == (preset.name, preset.description)


def test_a_bound_preset_comes_back_bound():
    preset = Preset.loads("pipeline: [{logit_bias: {'12': -inf}}, {min_new_tokens: 4}, {temperature: 0.5}]")
    pipeline = Pipeline(preset.stages()).bind(plain_vocabulary(50))
    again = Preset.from_dict(json.loads(json.dumps(preset.to_dict(pipeline.stages))))
    assert Pipeline(again.stages()).stages == pipeline.stages
    changed = again.pipeline[1].with_knob("tokens", Value(2, "flag"))
    assert changed.bound is None


@pytest.mark.parametrize(
    "values",
    [
        None,
        5,
        {},
        {"pipeline": None},
        {"pipeline": [5]},
        {"pipeline": [{"stage": []}]},
        {"pipeline": [{"stage": "nonsense", "knobs": {}}]},
        {"pipeline": [{"stage": "top_k"}]},
        {"pipeline": [{"stage": "top_k", "knobs": {"k": 5}}]},
        {"pipeline": [{"stage": "top_k", "knobs": {"k": {"value": -1}}}]},
        {"pipeline": [{"stage": "top_k", "knobs": {"nonsense": {"value": 1}}}]},
        {"pipeline": [{"stage": "logit_bias", "knobs": {"entries": {"value": [[1]]}}}]},
        {"pipeline": [{"stage": "logit_bias", "knobs": {"entries": {"value": {"1": 2}}}}]},
        {"pipeline": [{"stage": "min_new_tokens", "knobs": {}, "bound": {"end_ids": {}}}]},
        {"pipeline": [], "settings": []},
        {"pipeline": [], "settings": {"stop": {}}},
    ],
    ids=str,
)
def test_what_is_no_preset_in_json_is_a_sentence(values):
    with pytest.raises(UsageError) as raised:
        Preset.from_dict(values)
    assert str(raised.value).endswith(".")
