"""`gencli completion`: the script that teaches a shell the names. Knows no command."""

from __future__ import annotations

import click

from gencli.option_types import Command, OneOf

SHELLS = ("bash", "fish", "zsh")
EXAMPLES = """\b
Examples:
  eval "$(gencli completion bash)"            in ~/.bashrc
  eval "$(gencli completion zsh)"             in ~/.zshrc
  gencli completion fish > ~/.config/fish/completions/gencli.fish
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.argument("shell", type=OneOf(*SHELLS), metavar="bash|fish|zsh")
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """A script for your shell: commands, flags, presets, checkpoints and stages complete with the tab key."""
    from click.shell_completion import get_completion_class

    from gencli.errors import unknown
    from gencli.terminal import Output

    complete = get_completion_class(shell)
    if complete is None:  # click knows all of SHELLS; a plugin may take one away
        raise unknown("shell", shell, SHELLS)
    Output().write(complete(context.find_root().command, {}, "gencli", "_GENCLI_COMPLETE").source() + "\n")
