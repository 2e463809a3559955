"""Renders a checkpoint's chat template in a process of its own, short of time, memory and files. Knows nothing else of gencli.

A template is a program by whoever made the checkpoint. It runs in jinja2's sandbox, with what transformers
offers templates, and whatever it does there, this process ends soon: `chat_template.py` starts it with
this file alone, hands it a task as JSON on stdin and reads the texts, or what went wrong, from stdout.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from types import TracebackType

    from jinja2.sandbox import ImmutableSandboxedEnvironment

SECONDS = 1.0  # of processor time, from when the template is read
MEMORY = 400 << 20  # bytes of address space
TEMPLATE = "<template>"  # jinja2's name for the file of a template that came as text


def main() -> None:
    """Do the task on stdin, and write {"texts"} or {"error", "line"}.

    A task is {"path", "template", "variables", "now", "most", "conversations": [[messages, whether the answer
    begins behind them]], "perhaps": a conversation whose text is null where the template refuses it}.
    """
    task = json.load(sys.stdin)
    sys.path[:] = task["path"]
    json.dump(_answer(task), sys.stdout)


def _answer(task: dict[str, Any]) -> dict[str, Any]:
    import jinja2
    from jinja2.exceptions import SecurityError

    environment = _environment(task["now"])
    with suppress(jinja2.UndefinedError):  # what a rendering or an error loads is loaded before files are out of reach
        environment.from_string("{{ 'a' | upper }}{{ strftime_now('%d %B') }}{{ nothing.at.all }}").render()
    _confine()
    try:
        return {"texts": _render(environment, task)}
    except jinja2.TemplateSyntaxError as error:
        return {"error": error.message or "it cannot be read", "line": error.lineno}
    except SecurityError as error:
        return {"error": f"it reaches for what no template may use ({error})", "line": _line(error.__traceback__)}
    except MemoryError as error:
        return {"error": f"it takes more than {MEMORY >> 20} MB of memory", "line": _line(error.__traceback__)}
    except RecursionError as error:
        return {"error": "it is nested too deeply", "line": _line(error.__traceback__)}
    except Exception as error:
        return {"error": str(error) or type(error).__name__, "line": _line(error.__traceback__)}


def _confine() -> None:
    """From here on: little time, little memory, no file that is opened or written, no other process."""
    try:
        import resource
        import signal
    except ImportError:  # this system has neither; whoever started this process waits only so long
        return
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    for what, most in (("AS", MEMORY), ("CORE", 0), ("FSIZE", 0), ("NOFILE", 3)):
        limit = getattr(resource, f"RLIMIT_{what}")
        with suppress(ValueError, OSError):  # macOS knows no limit of address space
            resource.setrlimit(limit, (most, most))


def _render(environment: ImmutableSandboxedEnvironment, task: dict[str, Any]) -> list[str | None]:
    template = environment.from_string(task["template"])

    def text(messages: list[Any], answering: bool) -> str:
        parts = []
        variables = {**task["variables"], "messages": messages, "add_generation_prompt": answering}
        for part in template.generate(tools=None, documents=None, **variables):
            parts.append(part)
            task["most"] -= len(part)
            if task["most"] < 0:
                raise ValueError("its text is far longer than the messages")
        return "".join(parts)

    texts: list[str | None] = [text(*each) for each in task["conversations"]]
    try:
        return [*texts, text(*task["perhaps"])]
    except Exception:
        return [*texts, None]


def _environment(now: float) -> ImmutableSandboxedEnvironment:
    """What transformers offers a chat template: its globals, filters and the {% generation %} block."""
    from datetime import datetime

    import jinja2
    from jinja2 import nodes
    from jinja2.exceptions import SecurityError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        def unsafe_undefined(self, obj: Any, attribute: str) -> NoReturn:
            raise SecurityError(f"{attribute!r} of {type(obj).__name__!r}")

    class Generation(Extension):
        """{% generation %} marks what the model wrote, for training; here it only holds its text."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Parser) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    class Namespace(jinja2.utils.Namespace):
        def __init__(*args: Any, **more: Any) -> None:
            self, *pairs = args
            jinja2.utils.Namespace.__init__(self, _public(dict(*pairs, **more)))

        def __setitem__(self, name: str, value: Any) -> None:
            super().__setitem__(name, _public({name: value})[name])

    def _public(attributes: dict[str, Any]) -> dict[str, Any]:
        for name in attributes:
            if str(name).startswith("_"):
                raise SecurityError(f"the name {name!r}")
        return attributes

    def raise_exception(message: str) -> NoReturn:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = Environment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.fromtimestamp(now).strftime(form)
    environment.globals["dict"] = lambda *pairs, **more: dict(*pairs, **more)
    environment.globals["namespace"] = Namespace
    return environment


def _line(trace: TracebackType | None) -> int | None:
    """The line of the template that the innermost of its frames stands in."""
    line = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == TEMPLATE:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


if __name__ == "__main__":
    main()
