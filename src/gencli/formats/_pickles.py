"""Pickles read as data: no object of theirs is built and nothing they name is looked up or called. Knows no format.

A pickle is a program for a stack machine. This one understands the instructions that dictionaries,
lists and numbers are made of; where a pickle names a function, the name and its arguments are what is read.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from gencli.errors import RunError, shown

LARGEST_PICKLE = 1 << 22  # bytes
MOST_STEPS = 200_000  # real checkpoints take some 40 a tensor
LARGEST_NUMBER = 1 << 53


class Name(NamedTuple):
    """A function or class that a pickle names."""

    module: str
    name: str


class Call(NamedTuple):
    """What a pickle asks to be called, and with what."""

    name: Name
    arguments: tuple[Any, ...]


class Stored(NamedTuple):
    """What a pickle asks to be looked up outside itself."""

    key: Any


def read_pickle(data: bytes, where: str, known: Collection[tuple[str, str]] = ()) -> Any:
    """The value of a pickle: dicts, lists, tuples, texts, numbers, and a `Call` for each call of a name in `known`.

    Raises `RunError` for any other name, and for whatever is damaged, too large or not understood.
    """
    if len(data) > LARGEST_PICKLE:
        raise RunError(f"{where} is damaged: it has {len(data)} bytes, more than the {LARGEST_PICKLE} that are read.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickletools, for escapes in a text that it decodes before it is refused
            return _Machine(where, known).run(data)
    except RunError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise RunError(f"{where} is damaged: {shown(str(error))}.") from error


class _Machine:
    def __init__(self, where: str, known: Collection[tuple[str, str]]) -> None:
        self.where, self.known = where, known
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        for step, (opcode, value, _) in enumerate(pickletools.genops(data)):
            if opcode.name == "STOP":
                return self.stack.pop()
            if opcode.name not in _STEPS:
                raise RunError(f"{self.where} is not read: it asks for {opcode.name}, which could run code.")
            if step > MOST_STEPS:
                raise RunError(f"{self.where} is damaged: it takes more than {MOST_STEPS} steps.")
            _STEPS[opcode.name](self, value)
        raise RunError(f"{self.where} is damaged: it has no end.")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def number(self, value: int) -> None:
        if abs(value) > LARGEST_NUMBER:
            raise ValueError("a number is too large")
        self.push(value)

    def since_mark(self) -> list[Any]:
        at = self.marks.pop()
        items = self.stack[at:]
        del self.stack[at:]
        return items

    def remember(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def last(self, count: int) -> None:
        if len(self.stack) < count:
            raise ValueError("its stack is empty")
        items = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        self.push(items)

    def name(self, module: Any, name: Any) -> None:
        if (module, name) not in self.known:
            raise RunError(f"{self.where} is not read: it asks for {shown(f'{module}.{name}')}, which could run code.")
        self.push(Name(module, name))

    def call(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise ValueError("it calls what is no function")
        # an empty dictionary under another name: what is put in later must find one
        self.push({} if function == ("collections", "OrderedDict") and not arguments else Call(function, arguments))

    def build(self, _: Any) -> None:
        self.stack.pop()  # attributes, which nothing here has
        self.stack[-1]

    def set_items(self, pairs: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(pairs) % 2:
            raise ValueError("it fills what is no dictionary")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if type(key) not in (str, int):
                raise ValueError("a key is neither text nor a number")
            if key in target:
                raise ValueError(f"{shown(key)} stands in it twice")
            target[key] = value

    def dictionary(self, _: Any) -> None:
        pairs = self.since_mark()
        self.push({})
        self.set_items(pairs)

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise ValueError("it fills what is no list")
        target += items


_Step = Callable[[_Machine, Any], object]


def _two(machine: _Machine) -> list[Any]:
    value, key = machine.stack.pop(), machine.stack.pop()
    return [key, value]


_STEPS: dict[str, _Step] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda machine, value: None),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "INT", "LONG"), _Machine.number),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINFLOAT", "FLOAT"), _Machine.push),
    **dict.fromkeys(("SHORT_BINBYTES", "BINBYTES"), _Machine.push),
    "NONE": lambda machine, value: machine.push(None),
    "NEWTRUE": lambda machine, value: machine.push(True),
    "NEWFALSE": lambda machine, value: machine.push(False),
    "EMPTY_DICT": lambda machine, value: machine.push({}),
    "EMPTY_LIST": lambda machine, value: machine.push([]),
    "EMPTY_TUPLE": lambda machine, value: machine.push(()),
    "MARK": lambda machine, value: machine.marks.append(len(machine.stack)),
    "TUPLE": lambda machine, value: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, value: machine.last(1),
    "TUPLE2": lambda machine, value: machine.last(2),
    "TUPLE3": lambda machine, value: machine.last(3),
    "LIST": lambda machine, value: machine.push(machine.since_mark()),
    "DICT": _Machine.dictionary,
    "SETITEM": lambda machine, value: machine.set_items(_two(machine)),
    "SETITEMS": lambda machine, value: machine.set_items(machine.since_mark()),
    "APPEND": lambda machine, value: machine.extend([machine.stack.pop()]),
    "APPENDS": lambda machine, value: machine.extend(machine.since_mark()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    "MEMOIZE": _Machine.remember,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, index: machine.push(machine.memo[index])),
    "GLOBAL": lambda machine, value: machine.name(*value.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, value: machine.name(*_two(machine)),
    "BINPERSID": lambda machine, value: machine.push(Stored(machine.stack.pop())),
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
}
