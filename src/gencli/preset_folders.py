"""Where presets lie: the user's folder first, then the shipped ones. Knows nothing of what is in them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gencli.errors import RunError, UsageError, unknown
from gencli.shipped import folder

ENDINGS = (".yaml", ".yml")
LONGEST_NAME = 100  # characters


@dataclass(frozen=True)
class Listed:
    """One preset file: `owner` is "yours" or "shipped"; `shadowed` says that another of that name comes first."""

    name: str
    path: Path
    owner: str
    shadowed: bool


def user_folder() -> Path:
    """`$XDG_CONFIG_HOME/gencli/presets`, by default in ~/.config; a relative XDG_CONFIG_HOME does not count."""
    config = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(config) if os.path.isabs(config) else Path(os.path.expanduser("~")) / ".config"
    return base / "gencli" / "presets"


def listed() -> list[Listed]:
    """Every preset that a name can mean, by name; of one name, the one that counts comes first."""
    found: list[Listed] = []
    seen: set[str] = set()
    for owner, place in (("yours", user_folder()), ("shipped", folder("configs") / "presets")):
        for path in _files(place):
            found.append(Listed(path.stem, path, owner, path.stem in seen))
            seen.add(path.stem)
    return sorted(found, key=lambda each: each.name)


def preset_names() -> list[str]:
    """The names that `--preset` knows, sorted."""
    return sorted({each.name for each in listed()})


def is_path(name_or_path: str) -> bool:
    """Whether `--preset` takes it for a path: it has a slash or ends in .yaml or .yml."""
    return "/" in name_or_path or os.sep in name_or_path or name_or_path.endswith(ENDINGS)


def find_preset(name_or_path: str | os.PathLike[str], *, base: Path | None = None, asking: Path | None = None, where: str = "") -> Path:
    """The file of a preset.

    A relative path starts from `base` (by default the working folder). `asking` is the file that
    extends it: a name never means that file itself, so that a user's `chat` can extend the shipped one.
    Raises `UsageError`, beginning with `where`, with the choices and the nearest name.
    """
    word = os.fspath(name_or_path)
    if isinstance(name_or_path, str) and not is_path(word):
        files = [each.path for each in listed() if each.name == word]
        if not files:
            raise unknown("preset", word[:100], preset_names(), where)
        others = [path for path in files if asking is None or not same(path, asking)]
        return (others or files)[0]
    path = (base or Path()) / word
    if not _exists(path):
        raise unknown("preset file", word[:200], (os.path.join(os.path.dirname(word), each.name) for each in _files(path.parent)), where)
    return path


def place_of(name: str) -> Path:
    """Where a preset of the user's under this name lies, or would lie; raises `UsageError` where it is no name."""
    if is_path(name) or name.startswith((".", "-")) or not name.isprintable() or not 0 < len(name) <= LONGEST_NAME or name != name.strip():
        example = "letters, digits, - and _, such as my-chat"
        raise UsageError(f"a preset's name is {example}, not {name[:LONGEST_NAME]!r}; for a file elsewhere give -o FILE.")
    place = user_folder()
    return next((path for path in _files(place) if path.stem == name), place / f"{name}.yaml")


def save(path: Path, text: str, *, force: bool) -> None:
    """Write a preset whole or not at all, and over a file that is there only with `force`.

    The user's own folder is made where it is missing. Raises `UsageError` where the file is there,
    `RunError` where it cannot be written.
    """
    import tempfile  # most commands only read

    try:
        path = Path(os.path.realpath(path)) if force else path  # what a link leads to, not the link
        if path.parent == user_folder():
            path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.stem[:40]}-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o666 & ~_umask())
            (os.replace if force else _link)(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
    except FileExistsError:
        raise UsageError(f"{path} is there already; --force writes over it.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise RunError(f"cannot write to {path}: {getattr(error, 'strerror', None) or error}.") from None


def _link(source: str, target: Path) -> None:
    """Give a written file its name, unless that name is taken; where a file system has no links, look first."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        os.rename(source, target)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _files(place: Path) -> list[Path]:
    """The preset files of a folder, sorted; of a.yaml and a.yml the first."""
    try:
        names = sorted(entry.name for entry in os.scandir(place) if entry.name.endswith(ENDINGS) and not entry.name.startswith("."))
    except (OSError, ValueError):
        return []
    first: dict[str, Path] = {}
    for name in names:
        first.setdefault(Path(name).stem, place / name)
    return list(first.values())


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file."""
    try:
        return one.samefile(other)
    except OSError:
        return False
