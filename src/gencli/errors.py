"""What a person can act on. Every message is a sentence; nothing here knows what it is about."""

from __future__ import annotations

from collections.abc import Iterable


class GencliError(Exception):
    """A failure to be told in one sentence, with the exit code it ends the process with."""

    exit_code = 1


class RunError(GencliError):
    """Something failed while running: a damaged checkpoint, a full disk, NaN logits (exit 1)."""


class UsageError(GencliError, ValueError):
    """Something was asked for wrongly: an unknown name, a value out of range (exit 2)."""

    exit_code = 2


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name that `word` was probably meant to be, or None."""
    import difflib  # only an error needs it

    by_folded = {name.casefold(): name for name in names}
    found = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.5)
    return by_folded[found[0]] if found else None


def unknown(kind: str, word: str, names: Iterable[str], where: str = "") -> UsageError:
    """The error for a name that does not exist: says where, the nearest name, and the choices.

    `kind` is what was looked for ("preset", "stage", "knob of top_k"), `where` a place such as
    "creative.yaml, line 3".
    """
    choices = sorted(names)
    meant = nearest(word, choices)
    place = f"{where}: " if where else ""
    hint = f" Did you mean '{meant}'?" if meant else ""
    listing = f" Choices: {', '.join(choices)}." if choices else " There are none."
    return UsageError(f"{place}there is no {kind} '{word}'.{hint}{listing}")


def shown(value: object) -> str:
    """A value out of a file as a message quotes it: escapes visible, long ones cut in the middle."""
    import reprlib  # only an error needs it

    short = reprlib.Repr()
    short.maxstring = short.maxother = 120
    return short.repr(value)


def sized(count: float) -> str:
    """Bytes in words, three digits: 17.5 MB."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"
