"""The contract's chapters "Presets" and "Settings", each line through the installed command."""

from __future__ import annotations

import json

import pytest

RUN = ("generate", "--seed", "1", "--max-new-tokens", "1", "--format", "json", "Once")


def pipeline_of(result):
    assert result.code == 0, result.err
    return [
        (entry["stage"], {knob: value["value"] for knob, value in entry["knobs"].items()})
        for entry in json.loads(result.out)["start"]["preset"]["pipeline"]
    ]


def write(shell, text, name="p.yaml"):
    (shell.folder / name).write_text(text)
    return f"./{name}"


def test_a_presets_order_is_its_lists_and_a_stage_may_stand_twice(shell):
    path = write(shell, "pipeline:\n  - top_p: 0.95\n  - temperature: 0.8\n  - top_k: {k: 40}\n  - temperature: 1.5\n")
    assert pipeline_of(shell(*RUN, "--preset", path)) == [
        ("top_p", {"p": 0.95}),
        ("temperature", {"temperature": 0.8}),
        ("top_k", {"k": 40}),
        ("temperature", {"temperature": 1.5}),
    ]


def test_extends_takes_over_what_is_not_said(shell):
    write(shell, "max_new_tokens: 1\nstop: ['x']\npipeline:\n  - top_k: 5\n", "parent.yaml")
    path = write(shell, "extends: ./parent.yaml\npipeline:\n  - top_p: 0.5\n")
    assert [stage for stage, _ in pipeline_of(shell(*RUN, "--preset", path))] == ["top_p"]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("descripton: x\n", 1, "description"),
        ("pipeline:\n  - topp: 0.9\n", 2, "top_p"),
        ("pipeline:\n  - top_p: {q: 0.9}\n", 2, "p"),
        ("pipeline:\n  - top_p: 1.9\n", 2, "(0, 1]"),
        ("pipeline:\n  - top_p: high\n", 2, "top_p"),
        ("pipeline:\n  - top_k: 2.5\n", 2, "top_k"),
        ("stop: a\nstop: b\n", 2, "stop"),
        ("max_new_tokens: &n 3\n", 1, "anchor"),
        ("max_new_tokens: 0\n", 1, "max_new_tokens"),
        ("strategy: beam\n", 1, "sample"),
        ("template: no braces\n", 1, "{}"),
        ("extends: ./p.yaml\n", 1, "itself"),
        ("description: !!python/object/apply:os.system ['true']\n", 1, "tag"),
    ],
)
def test_an_error_tells_file_line_and_choices(shell, text, line, said):
    result = shell(*RUN, "--preset", write(shell, text))
    assert result.code == 2
    assert "p.yaml" in result.err
    assert f"line {line}" in result.err
    assert said in result.err
    assert "Traceback" not in result.err


def test_ten_levels_of_ten_aliases_and_a_hundred_thousand_brackets_end_at_once(shell):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    for text in ("\n".join(lines), "[" * 100_000, "{a: " * 100_000, "- " * 100_000):
        result = shell(*RUN, "--preset", write(shell, text))
        assert result.code == 2
        assert "Traceback" not in result.err
        assert len(result.err) < 1000


def test_numbers_follow_yaml_1_2(shell):
    assert pipeline_of(shell(*RUN, "--preset", write(shell, "pipeline:\n  - min_p: 3e-4\n"))) == [("min_p", {"p": 3e-4})]


def test_a_name_is_looked_up_in_the_users_folder_first(shell):
    folder = shell.folder / "config" / "gencli" / "presets"
    folder.mkdir(parents=True)
    (folder / "creative.yaml").write_text("pipeline:\n  - top_k: 7\n")
    env = {"XDG_CONFIG_HOME": str(shell.folder / "config")}
    assert pipeline_of(shell(*RUN, "--preset", "creative", env=env)) == [("top_k", {"k": 7})]
    assert "shadow" in shell("presets", "list", env=env).out.decode()


def test_every_shipped_preset_runs(shell):
    for name in ("code", "chat", "creative", "factual", "brainstorm", "greedy"):
        assert pipeline_of(shell(*RUN, "--preset", name))
        assert shell("presets", "check", name).code == 0
        assert name in shell("presets", "list").out.decode()


def test_presets_check_codes(shell):
    assert shell("presets", "check", write(shell, "pipeline:\n  - topp: 1\n")).code == 2
    nothing = write(shell, "pipeline:\n  - top_k: 0\n")
    assert shell("presets", "check", nothing).code == 0
    assert shell("presets", "check", "--strict", nothing).code == 3


# settings


def test_flags_alone_are_the_pipeline(shell):
    assert pipeline_of(shell(*RUN, "--top-p", "0.9", "--temperature", "0.7")) == [
        ("temperature", {"temperature": 0.7}),
        ("top_p", {"p": 0.9}),
    ]
    assert pipeline_of(shell(*RUN)) == []


def test_a_stage_the_preset_lacks_goes_to_its_standard_place(shell):
    path = write(shell, "pipeline:\n  - temperature: 0.8\n  - min_p: 0.1\n")
    assert [stage for stage, _ in pipeline_of(shell(*RUN, "--preset", path, "--top-k", "40"))] == ["temperature", "top_k", "min_p"]


def test_precedence_is_flag_environment_preset(shell):
    path = write(shell, "pipeline:\n  - top_k: 10\n")
    env = {"GENCLI_TOP_K": "20"}
    assert pipeline_of(shell(*RUN, "--preset", path)) == [("top_k", {"k": 10})]
    assert pipeline_of(shell(*RUN, "--preset", path, env=env)) == [("top_k", {"k": 20})]
    assert pipeline_of(shell(*RUN, "--preset", path, "--top-k", "30", env=env)) == [("top_k", {"k": 30})]


def test_set_names_any_knob(shell):
    settings = ("--set", "repetition_penalty=1.2", "--set", "repetition_penalty.last=64")
    assert pipeline_of(shell(*RUN, *settings)) == [("repetition_penalty", {"penalty": 1.2, "last": 64, "scope": "prompt+output"})]
    path = write(shell, "pipeline:\n  - temperature: 0.8\n  - temperature: 1.5\n")
    assert pipeline_of(shell(*RUN, "--preset", path, "--set", "temperature#2=2"))[1] == ("temperature", {"temperature": 2.0})
    plain = shell(*RUN, "--preset", path, "--set", "temperature=2")
    assert plain.code == 2
    assert "temperature#2" in plain.err


def test_pipeline_keeps_exactly_these(shell):
    path = write(shell, "pipeline:\n  - temperature: 0.8\n  - top_k: 10\n  - top_p: 0.9\n")
    assert pipeline_of(shell(*RUN, "--preset", path, "--pipeline", "top_p,temperature")) == [
        ("top_p", {"p": 0.9}),
        ("temperature", {"temperature": 0.8}),
    ]


def test_every_value_carries_its_origin(shell):
    path = write(shell, "pipeline:\n  - top_k: 10\n")
    entries = json.loads(shell(*RUN, "--preset", path, "--top-p", "0.9").out)["start"]["preset"]["pipeline"]
    origins = {entry["stage"]: next(iter(entry["knobs"].values()))["origin"] for entry in entries}
    assert origins["top_p"] == "flag --top-p"
    assert "p.yaml" in origins["top_k"]


def test_temperature_zero_and_greedy_are_the_arg_max(shell):
    texts = {
        shell("generate", *flags, "--max-new-tokens", "20", "Once").out
        for flags in (["--temperature", "0"], ["--preset", "greedy"], ["--temperature", "0", "--top-k", "5", "--seed", "9"])
    }
    assert len(texts) == 1


def test_generation_config_is_the_pipeline_where_nothing_else_is_said(shell, fable):
    import shutil

    shutil.copytree(fable, shell.folder / "mine")
    (shell.folder / "mine" / "generation_config.json").write_text('{"eos_token_id": 0, "do_sample": true, "top_k": 7, "temperature": 0.5}')
    mine = (*RUN, "--checkpoint", "./mine")
    assert pipeline_of(shell(*mine)) == [("temperature", {"temperature": 0.5}), ("top_k", {"k": 7})]
    assert pipeline_of(shell(*mine, "--top-p", "0.9")) == [("top_p", {"p": 0.9})]
    assert "top_k" not in [stage for stage, _ in pipeline_of(shell(*mine, "--preset", "brainstorm"))]
