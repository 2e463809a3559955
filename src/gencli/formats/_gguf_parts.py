"""A GGUF model in parts, read as one: the first file's metadata, and the tensors of all. Knows no architecture.

llama.cpp's gguf-split notes in every part its number from 0 (split.no) and how many there are (split.count).
"""

from __future__ import annotations

from pathlib import Path

from gencli.errors import RunError, shown
from gencli.formats import check_links
from gencli.formats._gguf_file import MOST_ENTRIES, GGUFFile, Held, read_gguf
from gencli.formats._gguf_metadata import Metadata
from gencli.formats._gguf_names import with_parts

LATER = 1 << 12  # texts and numbers in lists of the metadata of a part that is not the first: there are none but a few of its own


def read_model(path: Path) -> GGUFFile:
    """What a file says, or all files of the model of which it is a part. Raises `RunError`, also for a part that is missing."""
    file = read_gguf(path)
    count = Metadata(file).whole("split.count") or 1
    if count == 1:
        return file
    parts = [path.with_name(name) for name in with_parts(path.name)]
    if len(parts) != count:
        others = f"NAME-00001-of-{count:05}.gguf" if 1 < count < 100_000 else "NAME-00001-of-00002.gguf"
        raise RunError(f"{path} says that it is one of {count} parts, and its name does not tell the others; parts are named {others}.")
    if missing := [part.name for part in parts if not part.exists()]:
        names = ", ".join(map(shown, missing[:3])) + (" and others" if len(missing) > 3 else "")
        verb = "is" if len(missing) == 1 else "are"
        raise RunError(f"{path} is one of {count} parts of a checkpoint, and {names} {verb} missing beside it.")
    check_links(path.parent, parts)
    return _joined(parts, file)


def _joined(parts: list[Path], given: GGUFFile) -> GGUFFile:
    """All parts, of which one is read already."""
    first = given if given.path == parts[0] else read_gguf(parts[0])
    tensors: dict[str, Held] = {}
    for number, part in enumerate(parts):
        file = first if number == 0 else given if given.path == part else read_gguf(part, LATER, LATER)
        metadata = Metadata(file)
        says = metadata.whole("split.no"), metadata.whole("split.count")
        if says != (number, len(parts)):
            raise RunError(
                f"{file.path} is damaged: by its name it is part {number + 1} of {len(parts)}, "
                f"and it says split.no {shown(says[0])} and split.count {shown(says[1])}."
            )
        if twice := tensors.keys() & file.tensors.keys():
            raise RunError(f"{file.path} is damaged: the tensor {shown(min(twice))} stands in another part too.")
        tensors |= file.tensors
        if len(tensors) > MOST_ENTRIES:
            raise RunError(f"{first.path} and the parts beside it hold more than {MOST_ENTRIES} tensors, which no model has.")
    total = Metadata(first).whole("split.tensors.count")
    if total is not None and total != len(tensors):
        raise RunError(f"{first.path} is damaged: it says that the parts hold {total} tensors, and they hold {len(tensors)}.")
    return first._replace(tensors=tensors)
