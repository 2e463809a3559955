"""A SentencePiece .model file -> its pieces. Knows the few fields it needs, and no protobuf library."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from gencli.tokenizers._charsmap import Charsmap
from gencli.tokenizers._pieces import Pieces, Type
from gencli.tokenizers._protobuf import Value, fields, number, text, whole
from gencli.tokenizers._source import MAX_ID, damaged

# the fields of ModelProto and of its parts, by sentencepiece_model.proto
_PIECE, _TRAINER, _NORMALIZER = 1, 2, 3
_MODEL_TYPE, _SUFFIX, _BYTE_FALLBACK, _UNK, _BOS = 3, 24, 35, 40, 41
_CHARSMAP, _PREFIX, _SQUEEZE, _ESCAPE = 2, 3, 4, 5
_UNIGRAM, _BPE = 1, 2


def looks_like(data: bytes) -> bool:
    """Whether these are the first bytes of such a file: a piece, its length, the piece's text."""
    return len(data) > 4 and data[0] == 0x0A and data[2] == 0x0A


def pieces_of(path: Path, data: bytes, add_bos: bool | None = None) -> Pieces:
    """The pieces of a file's `data`. `add_bos`: whether its start token goes before a text; None: if it has one.

    Raises `RunError` where it is damaged or asks for what is not done here.
    """
    try:
        return _pieces(path, data, add_bos)
    except (ValueError, OverflowError) as error:
        raise damaged(path, f"it is no SentencePiece model ({error})") from error


def _pieces(path: Path, data: bytes, add_bos: bool | None) -> Pieces:
    parts: dict[int, list[Value]] = defaultdict(list)
    for field, value in fields(data):
        if field in (_PIECE, _TRAINER, _NORMALIZER):
            parts[field].append(value)
        if len(parts[_PIECE]) > MAX_ID:
            raise ValueError(f"more than {MAX_ID} pieces")
    pieces: list[str] = []
    scores: list[float] = []
    types: list[int] = []
    for value in parts[_PIECE]:
        piece, score, type = "", 0.0, int(Type.NORMAL)
        for field, each in fields(_message(value)):
            if field == 1:
                piece = text(each)
            elif field == 2:
                score = number(each)
            elif field == 3:
                type = whole(each)
        if not piece or type not in set(Type):
            raise ValueError(f"piece {len(pieces)} is empty, or of the unknown kind {type}")
        pieces.append(piece)
        scores.append(score)
        types.append(type)
    trainer = _settings(parts[_TRAINER])
    normalizer = _settings(parts[_NORMALIZER])
    kind = whole(trainer.get(_MODEL_TYPE, _UNIGRAM))
    if kind not in (_UNIGRAM, _BPE):
        raise ValueError("it cuts words or characters; only Unigram and BPE are known")
    if trainer.get(_SUFFIX) or normalizer.get(_ESCAPE) == 0:
        raise ValueError("it does not put spaces before words as ▁, which is the one way known here")
    if kind == _BPE and Type.UNUSED in types:
        raise ValueError("it has pieces that are marked unused")
    bos = _id_of(trainer.get(_BOS, 1), types, Type.CONTROL)
    charsmap = normalizer.get(_CHARSMAP, b"")
    return Pieces(
        path,
        pieces,
        scores,
        types,
        unigram=kind == _UNIGRAM,
        unknown=_id_of(trainer.get(_UNK, 0), types, Type.UNKNOWN),
        start_ids=(bos,) if bos is not None and add_bos is not False else (),
        prefix=bool(normalizer.get(_PREFIX, 1)),
        squeeze=bool(normalizer.get(_SQUEEZE, 1)),
        byte_fallback=bool(trainer.get(_BYTE_FALLBACK, 0)),
        **({"normalise": Charsmap(charsmap).normalise} if isinstance(charsmap, bytes) and charsmap else {}),
    )


def _message(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a part of it is a number")
    return value


def _settings(messages: list[Value]) -> dict[int, Value]:
    """The last value of each field: later messages, and later fields, win."""
    return {field: value for message in messages for field, value in fields(_message(message))}


def _id_of(value: Value, types: list[int], type: Type) -> int | None:
    id = whole(value)
    return id if 0 <= id < len(types) and types[id] == type else None
