"""`gencli presets list | show | check | save | import`."""

from __future__ import annotations

import json
import re

import pytest

from gencli.commands.presets import presets
from gencli.errors import UsageError
from gencli.preset import Preset


@pytest.fixture
def run(capfd, monkeypatch, tmp_path):
    """Runs the command in a folder of its own; answers its exit code, stdout and stderr."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config" / "gencli" / "presets").mkdir(parents=True)

    def go(*args):
        code = presets.main(list(args), prog_name="gencli presets", standalone_mode=False)
        out, err = capfd.readouterr()
        return code or 0, out, err

    return go


@pytest.fixture
def mine(tmp_path):
    return tmp_path / "config" / "gencli" / "presets"


def test_list_names_every_preset_and_what_is_shadowed(run, mine):
    code, out, err = run("list")
    assert (code, err) == (0, "")
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        [name, "shipped"] for name in ("brainstorm", "chat", "code", "creative", "factual", "greedy")
    ]
    (mine / "chat.yaml").write_text("description: mine")
    (mine / "broken.yaml").write_text("descripton: mine")
    lines = run("list")[1].splitlines()
    first, second = [line for line in lines if line.startswith("chat")]
    assert first.split() == ["chat", "yours", "mine"]
    assert re.match(r"chat +shipped, shadowed by yours  Conversation", second)
    (broken,) = [line for line in lines if line.startswith("broken")]
    assert "broken.yaml, line 1: there is no key 'descripton'" in broken


def test_list_as_json(run, mine):
    (mine / "chat.yaml").write_text("description: 'mine \\x1b'")
    (mine / "odd.yaml").write_text('description: "two\\nlines \\x1b[2J"')
    found = json.loads(run("list", "--format", "json")[1])
    assert [(each["from"], each["shadowed"]) for each in found if each["name"] == "chat"] == [("yours", False), ("shipped", True)]
    assert next(each for each in found if each["name"] == "odd")["description"] == "two\nlines \x1b[2J"
    assert "\x1b" not in run("list")[1]


def test_show_writes_a_preset_that_can_be_saved(run, tmp_path):
    _, out, _ = run("show", "creative")
    assert Preset.loads(out).stages() == Preset.load("creative").stages()
    (tmp_path / "child.yaml").write_text("extends: creative\nstop: [x]")
    _, out, _ = run("show", "./child.yaml")
    assert "extends" not in out
    assert Preset.loads(out).stages() == Preset.load("creative").stages()
    assert Preset.loads(out).get("stop") == ("x",)


def test_show_resolved_tells_every_origin(run, monkeypatch):
    monkeypatch.setenv("GENCLI_TOP_K", "20")
    _, out, _ = run("show", "creative", "--resolved", "--set", "repetition_penalty.scope=output")
    lines = out.splitlines()
    values = [line for line in lines if re.match(r"      \w|\w+: [^\s]|# ", line) and not line.startswith("description")]
    assert all(re.search(r"  # \S", line) for line in values)
    origin = {line.split(":")[0].strip(" -#"): line.split("  # ")[1] for line in values}
    assert origin["k"] == "environment GENCLI_TOP_K"
    assert origin["scope"] == "flag --set"
    assert origin["last"].startswith("preset creative (creative.yaml, line ")
    assert origin["strategy"] == "default"
    resolved = Preset.loads(out).stages()
    assert [name for name, _ in resolved] == ["repetition_penalty", "temperature", "top_k", "top_p"]
    assert resolved[2][1].k == 20
    # without --resolved and without flags it is the preset itself
    assert "20" not in run("show", "creative")[1]
    assert "flag --top-k" in run("show", "creative", "--top-k", "7")[1]


def test_show_as_json(run):
    found = json.loads(run("show", "greedy", "--format", "json")[1])
    assert found == Preset.load("greedy").to_dict()
    found = json.loads(run("show", "greedy", "--format", "json", "--logit-bias", "5=-inf")[1])
    assert found["pipeline"][0]["knobs"]["entries"] == {"value": [[5, "-inf"]], "origin": "flag --logit-bias"}


def test_an_unknown_preset_lists_the_choices_and_the_nearest(run):
    with pytest.raises(UsageError, match=r"there is no preset 'creativ'. Did you mean 'creative'\? Choices: brainstorm"):
        run("show", "creativ")


def test_check_has_three_answers(run, tmp_path):
    (tmp_path / "good.yaml").write_text("pipeline: [top_k: 5]")
    (tmp_path / "idle.yaml").write_text("pipeline:\n  - top_k: 5\n  - top_p: 1")
    (tmp_path / "bad.yaml").write_text("pipeline:\n  - topp: 1")
    assert run("check", "good.yaml", "chat") == (0, "good.yaml: no warnings\nchat: no warnings\n", "")
    warned = "idle.yaml: preset idle (idle.yaml, line 3): top_p does nothing: p 1 is neutral.\n"
    assert run("check", "idle.yaml") == (0, warned, "")
    assert run("check", "--strict", "idle.yaml", "good.yaml") == (3, warned + "good.yaml: no warnings\n", "")
    assert run("check", "--strict", "good.yaml")[0] == 0
    code, out, err = run("check", "--strict", "bad.yaml", "idle.yaml", "none.yaml")
    assert (code, out) == (2, warned)
    assert "bad.yaml, line 2: there is no stage 'topp'. Did you mean 'top_p'?" in err
    assert "there is no preset file 'none.yaml'" in err


def test_save_keeps_the_flags_just_typed(run, mine):
    assert run("save", "calm", "--temperature", "0.7", "--top-p", "0.9", "--stop", "X", "--description", "Calm.") == (0, "", "")
    saved = Preset.load("calm")
    assert [(name, stage) for name, stage in saved.stages()] == Preset.loads("pipeline: [temperature: 0.7, top_p: 0.9]").stages()
    assert (saved.description, saved.get("stop")) == ("Calm.", ("X",))
    assert [each.name for each in mine.iterdir()] == ["calm.yaml"]
    before = (mine / "calm.yaml").read_text()
    with pytest.raises(UsageError, match=r"calm\.yaml is there already; --force writes over it"):
        run("save", "calm", "--top-k", "3")
    assert (mine / "calm.yaml").read_text() == before
    run("save", "calm", "--preset", "calm", "--top-k", "3", "--force")
    assert [name for name, _ in Preset.load("calm").stages()] == ["temperature", "top_k", "top_p"]
    assert [each.name for each in mine.iterdir()] == ["calm.yaml"]


def test_save_elsewhere_and_what_it_refuses(run, mine, tmp_path):
    _, out, _ = run("save", "-o", "-", "--logit-bias", "a=-inf")
    assert Preset.loads(out).stages() == Preset.loads("pipeline: [logit_bias: {a: -inf}]").stages()
    run("save", "-o", "there.yaml", "--top-k", "3")
    assert Preset.load(tmp_path / "there.yaml").stages()[0][1].k == 3
    for words, said in [
        (["x"], "there is nothing to save"),
        (["--top-k", "3"], "needs a NAME for your folder or -o FILE"),
        (["a/b", "--top-k", "3"], "a preset's name is letters"),
        (["../b", "--top-k", "3"], "a preset's name is letters"),
        (["b.yaml", "--top-k", "3"], "a preset's name is letters"),
    ]:
        with pytest.raises(UsageError, match=said):
            run("save", *words)
    assert list(mine.iterdir()) == []
    assert "means yours from now on" in run("save", "chat", "--top-k", "3")[2]


def test_import_from_a_file_a_command_line_and_into_the_folder(run, tmp_path):
    (tmp_path / "conf.json").write_text('{"do_sample": true, "top_k": 7, "num_beams": 2}')
    code, out, err = run("import", "conf.json")
    assert code == 0
    assert Preset.loads(out).stages() == Preset.loads("pipeline: [top_k: 7]").stages()
    assert "gencli: warning: num_beams 2: gencli draws one token at a time" in err
    assert "# differs: num_beams 2" in out
    assert run("import", "--strict", "conf.json", "--name", "not")[:2] == (3, "")
    _, out, err = run("import", "--", "llama-cli", "--temp", "0.5", "--samplers", "top_k;temperature")
    assert Preset.loads(out).stages() == Preset.loads("pipeline: [top_k: 40, temperature: 0.5]").stages()
    assert err == ""
    (tmp_path / "Modelfile").write_text("FROM x\nPARAMETER temperature 0.5")
    assert run("import", "Modelfile", "--name", "mario")[1] == ""
    assert [name for name, _ in Preset.load("mario").stages()] == ["top_k", "top_p", "temperature"]
    with pytest.raises(UsageError, match="there is no preset 'not'"):
        Preset.load("not")
    with pytest.raises(UsageError, match="the file none cannot be read"):
        run("import", "none")
    with pytest.raises(UsageError, match="a command line stands behind --"):
        run("import", "llama-cli --temp 0.5")
