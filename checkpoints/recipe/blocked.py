"""The words that no text of the corpus may hold. Kept in ROT13, so that nobody has to read them; knows no corpus."""

from __future__ import annotations

import codecs
import re
from functools import lru_cache
from pathlib import Path

LIST = Path(__file__).parent / "blocked.txt"  # whole words with their usual endings; with * whatever begins so


@lru_cache(maxsize=1)
def pattern() -> re.Pattern[str]:
    """Finds a blocked word, whatever its case."""
    listed = codecs.decode(LIST.read_text(encoding="ascii"), "rot13").split()
    stems = "|".join(each[:-1] for each in listed if each.endswith("*"))
    words = "|".join(each for each in listed if not each.endswith("*"))
    return re.compile(rf"\b(?:(?:{words})(?:s|es|ed|er|ers|ing)?\b|(?:{stems}))", re.IGNORECASE)


def blocked(text: str) -> bool:
    """Whether the text holds a word that a public demonstration must not say."""
    return pattern().search(text) is not None
