"""A GGUF file's metadata as the settings and the vocabulary that config.json and a tokenizer would say. Knows no tensor's numbers."""

from __future__ import annotations

from typing import Any

from gencli.errors import RunError, nearest, shown
from gencli.formats import GGUFVocabulary
from gencli.formats._gguf_architectures import ARCHITECTURES, Architecture
from gencli.formats._gguf_file import GGUFFile
from gencli.formats._gguf_metadata import Metadata
from gencli.formats._gguf_rotary import rotary_settings

TYPES = (1, 6)  # of a token, from and to
GEMMA_27B = {"gemma2": 46, "gemma3": 62}  # layers of those whose attention is scaled by the width, not by a head's


def architecture_of(file: GGUFFile, metadata: Metadata) -> Architecture:
    """Raises `RunError` that lists what is known and the nearest."""
    experts = bool(metadata.whole(metadata.own("expert_count")))
    window = metadata.plain(metadata.own("attention.sliding_window")) is not None
    found = [each for each in ARCHITECTURES if each.word == metadata.word and ("ffn_gate_exps" in each.layer) == experts]
    if found:
        return next((each for each in found if ("sliding_window" in each.settings) == window), found[0])
    words = sorted({each.word for each in ARCHITECTURES})
    near = nearest(metadata.word[:100], words)
    hint = f" The nearest is {near}." if near and near != metadata.word else ""
    raise RunError(f"{file.path}: the architecture {shown(metadata.word)} is not known.{hint} Choices: {', '.join(words)}.")


def config_of(file: GGUFFile, metadata: Metadata, architecture: Architecture) -> dict[str, Any]:
    """The config.json that says the same. Raises `RunError` for a setting that is missing or of a wrong type."""
    config: dict[str, Any] = {"architectures": [architecture.huggingface], "model_type": architecture.model_type, **architecture.fixed}
    for name, key in architecture.settings.items():
        value = metadata.plain(metadata.own(key.rstrip("?")))
        if value is not None:
            config[name] = value
        elif not key.endswith("?"):
            raise RunError(f"{file.path} lacks the setting {metadata.own(key)}.")
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise RunError(f"{file.path} lacks the tensor token_embd.weight.")
    config["vocab_size"] = embedding.shape[0]
    config["tie_word_embeddings"] = "output.weight" not in file.tensors
    for key, stem in (("attention_bias", "attn_q"), ("mlp_bias", "ffn_gate")):
        if architecture.model_type in ("llama", "qwen3", "granite", "olmo2", "olmoe"):
            config[key] = f"blk.0.{stem}.bias" in file.tensors
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        config[f"{name}_token_id"] = metadata.whole(f"tokenizer.ggml.{key}_token_id")  # None too: defaults are of other vocabularies
    if (licence := metadata.text("general.license")) is not None:
        config["license"] = licence
    if architecture.model_type != "gpt2":
        config |= rotary_settings(file, metadata, config)
    if metadata.word in GEMMA_27B:
        by_width = config["num_hidden_layers"] == GEMMA_27B[metadata.word]
        width, heads = metadata.whole(metadata.own("embedding_length")), metadata.whole(metadata.own("attention.head_count"))
        config["query_pre_attn_scalar"] = (width or 0) // (heads or 1) if by_width else config.get("head_dim", 256)
    return config


def vocabulary_of(metadata: Metadata) -> GGUFVocabulary | None:
    """The tokenizer that the metadata holds; None where they hold none. Raises `RunError` where its parts do not fit."""

    def key(name: str) -> str:
        return f"tokenizer.ggml.{name}"

    kind = metadata.text(key("model"))
    if kind is None:
        return None
    tokens = metadata.list_of(key("tokens"), str)
    scores, types = metadata.list_of(key("scores"), float), metadata.list_of(key("token_type"), int)
    for name, values in (("scores", scores), ("token_type", types)):
        if values and len(values) != len(tokens):
            raise RunError(f"{metadata.path}: {key(name)} has {len(values)} entries for {len(tokens)} tokens.")
    if not all(TYPES[0] <= each <= TYPES[1] for each in types):
        raise RunError(f"{metadata.path}: {key('token_type')} holds what is no type from {TYPES[0]} to {TYPES[1]}.")
    ids = {name: metadata.whole(key(f"{name}_token_id")) for name in ("bos", "eos", "unknown")}
    for name, id in ids.items():
        if id is not None and not 0 <= id < len(tokens):
            raise RunError(f"{metadata.path}: {key(name)}_token_id is {id}, and there are {len(tokens)} tokens.")
    space = metadata.flag(key("add_space_prefix"))
    return GGUFVocabulary(
        kind=kind,
        pre=metadata.text(key("pre")) or "",
        tokens=tokens,
        scores=scores,
        types=types,
        merges=metadata.list_of(key("merges"), str),
        bos=ids["bos"],
        eos=ids["eos"],
        unk=ids["unknown"],
        add_bos=metadata.flag(key("add_bos_token")),
        add_space_prefix=True if space is None else space,
        chat_template=metadata.text("tokenizer.chat_template"),
    )


def generation_of(metadata: Metadata, size: int) -> dict[str, Any]:
    """What generation_config.json would say: where a text begins and ends."""
    ends = [metadata.whole(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    ids = [id for id in dict.fromkeys(ends) if id is not None and 0 <= id < size]
    bos = metadata.whole("tokenizer.ggml.bos_token_id")
    return ({"eos_token_id": ids} if ids else {}) | ({"bos_token_id": bos} if bos is not None else {})
