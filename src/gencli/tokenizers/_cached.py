"""GPT-2's vocabulary where tiktoken keeps what it fetched: for checkpoints that mean it and do not bring it. Fetches nothing.

tiktoken names a file by the sha1 of its address and trusts it by its sha256. So do we: its cache lies where others may write.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from gencli.errors import RunError
from gencli.tokenizers import _byte_pairs, _ranked
from gencli.tokenizers._ranked import Ranked
from gencli.tokenizers._source import Source

GPT2 = "gpt2"
LARGEST = 1 << 21  # bytes
# (sha1 of the address, sha256 of the content): of what tiktoken.get_encoding("gpt2") reads, and what "r50k_base" does
VOCAB = ("6c7ea1a7e38e3a7f062df639a5b80947f075ffe6", "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783")
MERGES = ("6d1cbeee0f20b3d9449abfede4726ed8212e3aee", "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5")
RANKS = ("0ea1e91bbb3a60f729a8dc8f777fd2fc07cd8df4", "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930")


def cache() -> Path | None:
    """The folder that tiktoken keeps its files in; None where it is told to keep none."""
    for name in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if (stated := os.environ.get(name)) is not None:
            return Path(stated) if stated else None
    return Path(tempfile.gettempdir()) / "data-gym-cache"


def gpt2(folder: Path) -> Source | Ranked:
    """GPT-2's vocabulary for the checkpoint in a folder. Raises `RunError` that says how to get it where it is not there."""
    if (place := cache()) is not None:
        vocab, merges, ranks = (_content(place, *each) for each in (VOCAB, MERGES, RANKS))
        if vocab is not None and merges is not None:
            return _byte_pairs.gpt2(place / VOCAB[0], vocab, merges)
        if ranks is not None:
            return _ranked.ranked(place / RANKS[0], ranks, {"encoding_name": "r50k_base"})
    command = "python -c \"import tiktoken; tiktoken.get_encoding('gpt2')\""
    fetched = f"it is also found in {place}, once tiktoken has fetched it: {command}" if place else "tiktoken's cache is turned off"
    raise RunError(
        f"{folder} holds no tokenizer, and its model takes GPT-2's vocabulary: lay GPT-2's tokenizer.json, or its vocab.json and "
        f"merges.txt, into that folder (or the meta.pkl of its data); {fetched}."
    )


def _content(place: Path, name: str, digest: str) -> bytes | None:
    """A file of the cache, if it is there and is what it should be."""
    path = place / name
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == digest else None
