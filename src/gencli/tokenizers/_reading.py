"""A checkpoint's folder or metadata -> what a kind of tokenizer is built from, by the files that are there. Knows no kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gencli.errors import RunError
from gencli.formats import GGUFVocabulary, read_json
from gencli.tokenizers import _ranked, _source  # the others where their files are there: most checkpoints have a tokenizer.json
from gencli.tokenizers._alphabet import Alphabet, alphabet
from gencli.tokenizers._pieces import Pieces
from gencli.tokenizers._ranked import Ranked
from gencli.tokenizers._source import Source, damaged

MAX_BYTES = 1 << 25  # the largest published files of these kinds have some 5 MB
JSON, MODEL, LLAMA2C, CHARACTERS, CONFIG = "tokenizer.json", "tokenizer.model", "tokenizer.bin", "meta.pkl", "tokenizer_config.json"
VOCAB, MERGES = "vocab.json", "merges.txt"


def read(folder: Path, vocabulary: GGUFVocabulary | None = None, published: str | None = None) -> Source | Pieces | Ranked | Alphabet:
    """What describes a checkpoint's tokenizer: the `vocabulary` of its GGUF file, the first of the known files in its folder,
    or the `published` one of a name ("gpt2") that this machine has.

    Raises `RunError` where there is none, or where it is unreadable or damaged.
    """
    if vocabulary is not None:
        from gencli.tokenizers import _gguf

        return _gguf.source_of(folder, vocabulary)
    if (folder / JSON).is_file():
        return _source.read(folder)
    if (path := folder / VOCAB).is_file() and (merges := folder / MERGES).is_file():
        from gencli.tokenizers import _byte_pairs

        return _byte_pairs.source_of(path, _content(merges))
    if (path := folder / MODEL).is_file():
        data, config = _content(path), _config(folder)
        if _ranked.looks_like(data):
            return _ranked.ranked(path, data, config)
        from gencli.tokenizers import _sentencepiece

        stated = config.get("add_bos_token")
        pieces = _sentencepiece.pieces_of(path, data, stated if isinstance(stated, bool) else None)
        return pieces if pieces.unigram else pieces.source()
    if files := sorted(folder.glob("*.tiktoken")):
        if len(files) > 1:
            raise RunError(f"{folder} holds several .tiktoken files: {', '.join(file.name for file in files)}; keep the model's own.")
        return _ranked.ranked(files[0], _content(files[0]), _config(folder))
    if (path := folder / LLAMA2C).is_file():
        from gencli.tokenizers import _llama2c

        return _llama2c.pieces_of(path, _content(path)).source()
    if (path := folder / CHARACTERS).is_file():
        return alphabet(path, _content(path))
    if published is not None:
        from gencli.tokenizers import _cached

        return _cached.gpt2(folder)
    raise RunError(
        f"{folder} holds no {JSON}, so there is no way from text to tokens and back; "
        f"{VOCAB} with {MERGES}, {MODEL}, a .tiktoken file, {LLAMA2C} and {CHARACTERS} would do as well."
    )


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    return read_json(path) if path.is_file() else {}


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_BYTES:
        raise damaged(path, f"it is larger than {MAX_BYTES >> 20} MB")
    return content
