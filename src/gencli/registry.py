"""The folder is the registry: what lies on a shelf, found by its file name. Knows no shelf by name."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from functools import cache
from typing import Any

from gencli.errors import unknown


@cache
def names(shelf: str) -> tuple[str, ...]:
    """The items on a shelf ("stages" -> ("frequency_penalty", "logit_bias", ...)), sorted. Imports none of them."""
    spec = importlib.util.find_spec(f"gencli.{shelf}")
    folders = spec.submodule_search_locations if spec else None
    found = (module.name for module in pkgutil.iter_modules(folders or []) if not module.ispkg)
    return tuple(sorted(name for name in found if not name.startswith("_")))


@cache
def find(shelf: str, name: str) -> Any:
    """The item `name` of a shelf: `stages/top_k.py` holds the class `TopK`, a command its function.

    Raises `UsageError` with the choices and the nearest name.
    """
    if name not in names(shelf):
        raise unknown("strategy" if shelf == "strategies" else shelf.removesuffix("s"), name, names(shelf))
    module = importlib.import_module(f"gencli.{shelf}.{name}")
    camel = "".join(word.capitalize() for word in name.split("_"))
    return getattr(module, camel) if hasattr(module, camel) else getattr(module, name)
