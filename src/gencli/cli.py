"""The click group: finds commands on their shelf and turns every ending into an exit code. Knows no command."""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn

import click

from gencli import __version__
from gencli.errors import GencliError
from gencli.interrupts import Interrupted, Interrupts
from gencli.option_types import Group
from gencli.registry import find, names
from gencli.terminal import Messages, ReaderGone


class Commands(Group):
    """The subcommands are the files of `commands/`; `inspect_probs.py` is `inspect-probs`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name.replace("_", "-") for name in names("commands")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        file = cmd_name.replace("-", "_")
        return find("commands", file) if file in names("commands") else None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])  # who types only the name wants to know what there is


EXAMPLES = """\b
Examples:
  gencli generate "Once upon a time"
  gencli generate --preset creative --seed 35 "The dragon"
  echo "Tell me a story." | gencli generate --preset chat | tee story.txt
  gencli inspect-probs --preset creative "Once upon a"
"""


@click.group(cls=Commands, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="gencli", message="%(prog)s %(version)s")
def gencli() -> None:
    """Generate text on your own machine, and see and steer how each word was chosen."""


def main() -> NoReturn:
    """The console script: run, and end the process with the code that the contract names."""
    gc.disable()  # importing makes no garbage, and looking for it costs torch's import a tenth of its time
    _keep_standard_descriptors()
    messages = Messages()
    try:
        interrupts = Interrupts()
        interrupts.install()
        code = _run(interrupts)
    except Interrupted as interrupted:
        code = interrupted.code
    except KeyboardInterrupt:
        code = 130
    except ReaderGone:
        code = 141
    except click.exceptions.Exit as exit_:
        code = exit_.exit_code
    except click.Abort:
        code = 130
    except SystemExit as exit_:  # click leaves this way after a completion, and where a reader closed the pipe
        code = 141 if exit_.code == 1 and "_GENCLI_COMPLETE" not in os.environ else int(exit_.code or 0)
    except click.UsageError as error:
        code = _usage(error, messages)
    except click.ClickException as error:
        messages.error(error.format_message())
        code = error.exit_code
    except GencliError as error:
        _traceback_if_asked()
        messages.error(str(error))
        code = error.exit_code
    except OSError as error:
        _traceback_if_asked()
        where = f" {error.filename}" if error.filename else ""
        messages.error(f"the system refused to read or write{where}: {error.strerror or error}.")
        code = 1
    except MemoryError:
        messages.error("there is not enough memory for this.")
        code = 1
    except Exception as error:  # whatever it is, a person gets a sentence
        _traceback_if_asked()
        messages.error(f"an unexpected failure: {type(error).__name__}: {error} (GENCLI_DEBUG=1 shows where).")
        code = 1
    _end(code)


def _run(interrupts: Interrupts) -> int:
    if not sys.warnoptions:
        import warnings

        warnings.simplefilter("ignore")  # a library's advice to programmers is not for the person here
    # what was typed is UTF-8, whatever the locale made of it
    arguments = [os.fsencode(argument).decode("utf-8", "surrogateescape") for argument in sys.argv[1:]]
    result = gencli.main(arguments, prog_name="gencli", standalone_mode=False, obj=interrupts)
    return result if isinstance(result, int) else 0


def _usage(error: click.UsageError, messages: Messages) -> int:
    if error.ctx is not None:
        messages.line(error.ctx.get_usage())
        messages.line(f"Try '{error.ctx.command_path} --help'.")
    messages.error(error.format_message())
    return error.exit_code


def _traceback_if_asked() -> None:
    if os.environ.get("GENCLI_DEBUG") == "1":
        import traceback

        traceback.print_exc()


def _keep_standard_descriptors() -> None:
    """A closed stdin or stderr becomes /dev/null, so that no file of ours is ever opened in its place.

    A closed stdout stays closed to writing: what cannot be delivered is an error, not a loss in silence.
    """
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115


def _end(code: int) -> NoReturn:
    """Leave at once: flushed, without the second that tearing torch down can take."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except BrokenPipeError:
            code = 141 if stream is sys.stdout and code in (0, 1) else code
        except (OSError, ValueError):
            code = 1 if stream is sys.stdout and code == 0 else code
    os._exit(code)
