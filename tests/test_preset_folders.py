"""Where a preset's name or path leads, and how one is written there."""

from __future__ import annotations

import os
import stat

import pytest

from gencli import shipped
from gencli.errors import RunError, UsageError
from gencli.preset_folders import LONGEST_NAME, Listed, find_preset, is_path, listed, place_of, preset_names, save, user_folder

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


# writing


def test_saving_makes_the_users_own_folder_and_no_other(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "not" / "yet"))
    save(place_of("mine"), "stop: ü\n", force=False)
    assert (user_folder() / "mine.yaml").read_bytes() == "stop: ü\n".encode()
    with pytest.raises(RunError, match=r"cannot write to .*elsewhere/x.yaml: No such file"):
        save(tmp_path / "elsewhere" / "x.yaml", "stop: x", force=False)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("linked", [True, False])
def test_a_file_that_is_there_is_written_over_by_force_alone(mine, monkeypatch, linked):
    if not linked:  # as on a file system without hard links

        def refuse(source: str, target: str) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    path = mine / "a.yaml"
    save(path, "stop: first", force=False)
    with pytest.raises(UsageError, match=r"a\.yaml is there already; --force writes over it"):
        save(path, "stop: second", force=False)
    assert path.read_text() == "stop: first"
    save(path, "stop: third", force=True)
    assert path.read_text() == "stop: third"
    assert os.listdir(mine) == ["a.yaml"]  # nothing half-written beside it


def test_saving_keeps_a_link_and_never_follows_one_without_force(mine, tmp_path):
    (tmp_path / "dotfiles").mkdir()
    real, link = tmp_path / "dotfiles" / "a.yaml", mine / "a.yaml"
    real.write_text("stop: first")
    link.symlink_to(real)
    with pytest.raises(UsageError, match="there already"):
        save(link, "stop: second", force=False)
    save(link, "stop: second", force=True)
    assert (link.is_symlink(), real.read_text()) == (True, "stop: second")
    dangling = mine / "b.yaml"
    dangling.symlink_to(tmp_path / "nowhere.yaml")
    with pytest.raises(UsageError, match="there already"):
        save(dangling, "stop: x", force=False)
    assert not (tmp_path / "nowhere.yaml").exists()


def test_a_saved_preset_is_readable_as_the_umask_says(mine):
    before = os.umask(0o027)
    try:
        save(mine / "a.yaml", "stop: x", force=False)
    finally:
        assert os.umask(before) == 0o027  # and saving left the mask as it was
    assert stat.S_IMODE((mine / "a.yaml").stat().st_mode) == 0o640


def test_what_cannot_be_written_is_one_sentence_and_leaves_nothing(mine):
    (mine / "folder.yaml").mkdir()
    for path, force in (
        (mine / "a\0.yaml", False),
        (mine / "a\0.yaml", True),
        (mine / ("x" * 300 + ".yaml"), False),
        (mine / "folder.yaml", True),
    ):
        with pytest.raises(RunError, match="cannot write to"):
            save(path, "stop: x", force=force)
    assert os.listdir(mine) == ["folder.yaml"]


def test_a_name_leads_into_the_users_folder_and_nowhere_else(mine):
    assert place_of("my-chat") == mine / "my-chat.yaml"
    (mine / "old.yml").write_text("stop: x")
    assert place_of("old") == mine / "old.yml"  # the file of that name that is there already
    for name in ("", " a", "a ", ".a", "-a", "../a", "a/b", "a.yaml", "a\nb", "a\x1b", "x" * (LONGEST_NAME + 1)):
        with pytest.raises(UsageError, match="a preset's name is letters, digits") as caught:
            place_of(name)
        assert "\x1b" not in str(caught.value)
