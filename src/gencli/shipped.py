"""Where the shipped presets and checkpoints lie, for a wheel and an editable install alike."""

from __future__ import annotations

from pathlib import Path

from gencli.errors import RunError


def folder(kind: str) -> Path:
    """The folder of shipped data: `kind` is "configs" or "checkpoints".

    A wheel carries both inside the package; in a source tree they lie two levels above it.
    """
    package = Path(__file__).resolve().parent
    for place in (package / "shipped" / kind, package.parent.parent / kind):
        if place.is_dir():
            return place
    raise RunError(f"gencli's own {kind} folder is missing; the installation is damaged, install it again.")
