"""`gencli completion`: a script that the shell itself accepts."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from gencli.commands.completion import SHELLS, completion
from gencli.errors import UsageError


@pytest.fixture
def run(capfd):
    def go(*args):
        completion.main(list(args), prog_name="gencli completion", standalone_mode=False)
        return capfd.readouterr().out

    return go


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_asks_gencli(run, shell):
    text = run(shell)
    assert f"_GENCLI_COMPLETE={shell}_complete" in text
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=text, text=True, check=True)


def test_an_unknown_shell_lists_the_choices(run):
    with pytest.raises(UsageError, match=r"'bsh'. Did you mean 'bash'. Choices: bash, fish, zsh"):
        run("bsh")
