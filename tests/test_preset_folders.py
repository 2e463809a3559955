"""Where a preset's name or path leads."""

from __future__ import annotations

import pytest

from gencli import shipped
from gencli.errors import UsageError
from gencli.preset_folders import Listed, find_preset, is_path, listed, preset_names, user_folder

SHIPPED = ["brainstorm", "chat", "code", "creative", "factual", "greedy"]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The user's folder of presets, empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "config" / "gencli" / "presets"
    folder.mkdir(parents=True)
    return folder


def test_a_slash_or_an_ending_makes_a_path():
    assert [is_path(word) for word in ("a/b", "./a", "a.yaml", "a.yml", "/a")] == [True] * 5
    assert [is_path(word) for word in ("a", "a.json", "yaml", "..")] == [False] * 4


def test_the_users_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", "/x")
    assert str(user_folder()) == "/x/gencli/presets"
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative/path"):
        monkeypatch.setenv("XDG_CONFIG_HOME", value)
        assert user_folder() == tmp_path / ".config" / "gencli" / "presets"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert user_folder() == tmp_path / ".config" / "gencli" / "presets"


def test_a_name_is_looked_up_in_the_users_folder_then_among_the_shipped(mine):
    assert preset_names() == SHIPPED
    assert find_preset("chat") == shipped.folder("configs") / "presets" / "chat.yaml"
    (mine / "chat.yml").write_text("stop: x")
    (mine / "own.yaml").write_text("stop: x")
    (mine / "notes.txt").write_text("no preset")
    (mine / ".hidden.yaml").write_text("stop: x")
    assert find_preset("chat") == mine / "chat.yml"
    assert preset_names() == sorted([*SHIPPED, "own"])
    theirs = shipped.folder("configs") / "presets" / "chat.yaml"
    assert [each for each in listed() if each.name == "chat"] == [
        Listed("chat", mine / "chat.yml", "yours", False),
        Listed("chat", theirs, "shipped", True),
    ]


def test_of_two_endings_one_counts(mine):
    (mine / "a.yml").write_text("stop: x")
    (mine / "a.yaml").write_text("stop: x")
    assert find_preset("a") == mine / "a.yaml"


def test_an_unknown_name_lists_the_choices_and_the_nearest(mine):
    with pytest.raises(
        UsageError,
        match=r"there is no preset 'creativ'. Did you mean 'creative'\? Choices: brainstorm, chat, code, creative, factual, greedy.",
    ):
        find_preset("creativ")
    with pytest.raises(UsageError, match="there is no preset ''"):
        find_preset("")


def test_a_path_is_a_path(mine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chat.yaml").write_text("stop: x")
    assert str(find_preset("chat.yaml")) == "chat.yaml"
    assert str(find_preset("./chat.yaml")) == "chat.yaml"
    with pytest.raises(UsageError, match=r"there is no preset file './chta.yaml'. Did you mean './chat.yaml'\?"):
        find_preset("./chta.yaml")
    for word in ("a\0b.yaml", "x" * 5000 + ".yaml", "no/such/folder.yaml"):
        with pytest.raises(UsageError, match="there is no preset file") as error:
            find_preset(word)
        assert len(str(error.value)) < 400
