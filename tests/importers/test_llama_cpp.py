"""llama.cpp command lines: its chain, computed slowly in float64 here, gives the same distribution in any order."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch

from gencli.errors import UsageError
from gencli.importers import carry, recognised, sources
from gencli.importers._llama_chain import DEFAULT_ORDER
from gencli.registry import names
from proofs import quick

NEEDS = {"dry": "dry", "xtc": "xtc", "typ_p": "typical_p", "top_n_sigma": "top_n_sigma"}
SAMPLERS = [each for each in DEFAULT_ORDER if each not in ("dry", "xtc") and (each not in NEEDS or NEEDS[each] in names("stages"))]


def penalties(p, logits, text):
    window = text[-p["repeat-last-n"] :]
    for token in set(window):
        times = window.count(token)
        logits[token] = logits[token] * p["repeat-penalty"] if logits[token] <= 0 else logits[token] / p["repeat-penalty"]
        logits[token] -= times * p["frequency-penalty"] + p["presence-penalty"]


def probabilities(logits):
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def keep(logits, kept):
    logits[~np.isin(np.arange(len(logits)), kept)] = -np.inf


def ranked(logits):
    return [each for each in np.argsort(-logits) if logits[each] > -np.inf]


def slowly(p, order, row, text):
    """What llama.cpp would draw from, one sampler after the other."""
    logits = np.array(row, dtype=np.float64)
    for sampler in order:
        chances = probabilities(logits)
        if sampler == "penalties":
            penalties(p, logits, text)
        elif sampler == "top_k" and p["top-k"] > 0:
            keep(logits, ranked(logits)[: p["top-k"]])
        elif sampler == "top_p" and p["top-p"] < 1:
            best = ranked(logits)
            sums = np.cumsum(chances[best])
            keep(logits, best[: int((sums < p["top-p"]).sum()) + 1])
        elif sampler == "min_p" and p["min-p"] > 0:
            keep(logits, [each for each in ranked(logits) if chances[each] >= p["min-p"] * chances.max()])
        elif sampler == "typ_p" and p["typical"] < 1:
            left = ranked(logits)
            entropy = -sum(chances[each] * math.log(chances[each]) for each in left)
            left.sort(key=lambda each: abs(-math.log(chances[each]) - entropy))
            keep(logits, left[: int((np.cumsum(chances[left]) < p["typical"]).sum()) + 1])
        elif sampler == "top_n_sigma" and p["top-nsigma"] > 0:
            finite = logits[logits > -np.inf]
            keep(logits, [each for each in ranked(logits) if logits[each] >= finite.max() - p["top-nsigma"] * finite.std()])
        elif sampler == "temperature":
            if p["temp"] <= 0:
                keep(logits, [int(logits.argmax())])
            else:
                logits = logits / p["temp"]
    return probabilities(logits)


@pytest.mark.parametrize("seed", quick(range(20), 6))
def test_the_chain_in_any_order_gives_the_same_distribution(seed, imported, drawn_from, rows, texts, apart):
    dice = random.Random(seed)
    p = {
        "top-k": dice.choice([0, -1, 5, 20, 40]),
        "top-p": dice.choice([0.3, 0.9, 0.95, 1.0]),
        "min-p": dice.choice([0.0, 0.02, 0.1]),
        "typical": dice.choice([0.3, 0.9, 1.0]) if "typ_p" in SAMPLERS else 1.0,
        "top-nsigma": dice.choice([-1.0, 1.0, 2.0]) if "top_n_sigma" in SAMPLERS else -1.0,
        "temp": dice.choice([0.0, 0.5, 0.8, 1.0, 1.7]),
        "repeat-penalty": dice.choice([0.8, 1.0, 1.1, 1.6]),
        "repeat-last-n": dice.choice([3, 8, 64]),
        "presence-penalty": dice.choice([0.0, 0.4]),
        "frequency-penalty": dice.choice([0.0, -0.2, 0.3]),
    }
    order = dice.sample(SAMPLERS, dice.randint(1, len(SAMPLERS))) if seed else SAMPLERS
    flags = " ".join(f"--{name} {value}" for name, value in p.items())
    found = imported("llama.cpp", f'llama-cli {flags} --samplers "{";".join(order)}"')
    assert not found.lost
    expected = torch.tensor(np.stack([slowly(p, order, row, text) for row, text in zip(rows.tolist(), texts, strict=True)]))
    assert apart(drawn_from(found.preset, rows, texts), expected) < 1e-6, (p, order)


def read(text):
    return carry(sources()["llama.cpp"].read(text, "here"), "x")


def stages(text):
    return [(each.stage, {name: value.value for name, value in each.knobs}) for each in read(text).preset.pipeline]


DEFAULT = [("top_k", {"k": 40}), ("top_p", {"p": 0.95}), ("min_p", {"p": 0.05}), ("temperature", {"temperature": 0.8})]


def test_defaults_letters_and_other_spellings():
    assert stages("llama-cli -m model.gguf") == DEFAULT
    assert stages("llama-cli --sampling-seq tk") == [DEFAULT[3], DEFAULT[0]]
    assert stages("llama-cli --samplers 'nucleus;temp'") == [DEFAULT[1], DEFAULT[3]]
    assert stages("llama-cli --top_k 3 --temperature=0.5 --samplers 'top-k;temp'") == [
        ("top_k", {"k": 3}),
        ("temperature", {"temperature": 0.5}),
    ]
    assert stages("--temp 0.5 --temp 0.6 --samplers temp") == [("temperature", {"temperature": 0.6})]
    assert stages("--temp -1 --top-p 0 --min-p 2 --samplers 'top_p;min_p;temp'") == [("top_k", {"k": 1})] * 2 + [
        ("temperature", {"temperature": 0.0})
    ]


def test_biases_add_up_and_ignore_eos_bans_the_end():
    found = stages("llama-cli -l 5+1.5 -l 5-0.5 --logit-bias 7-inf --ignore-eos --samplers ''")
    assert found == [("logit_bias", {"entries": ((5, 1.0), (7, -math.inf))}), ("min_new_tokens", {"tokens": 2147483647})]


def test_guidance_stands_behind_the_biases_and_before_the_chain():
    line = r"main -l 5+1.5 --cfg-scale 1.5 --cfg-negative-prompt 'Be\nrude' --samplers 'temperature' --temp 0.7"
    assert stages(line)[1:] == [("guidance", {"scale": 1.5, "negative": "Be\nrude"}), ("temperature", {"temperature": 0.7})]
    assert stages(f"{line} --no-escape")[1][1]["negative"] == r"Be\nrude"
    assert stages("main --cfg-scale 0.5 --cfg-negative-prompt x --samplers ''") == []  # there it counts above 1 only


def test_a_script_over_lines_with_comments_and_a_pipe():
    text = "#!/bin/sh\n# mine\nFOO=1 llama-cli -m a.gguf \\\n  --temp 0.7 -ngl -1 \\\n  -r 'User:\\n' -n 12 | less -R\n"
    found = read(text)
    assert found.preset.get("stop") == ("User:\n",)
    assert found.preset.get("max_new_tokens") == 12
    assert found.aside == ("-m", "-ngl")
    assert found.preset.pipeline[-1].origin == "llama.cpp --temp, line 4"
    assert read("llama-cli --no-escape -r 'a\\n'").preset.get("stop") == ("a\\n",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("--grammar x", '--grammar "x": gencli has no grammars'),
        ("--lora x.gguf", "--lora .*model's weights"),
        ("-n -1", "-n -1: a preset cannot ask for no limit"),
        ("--samplers 'top_k;tfs_z'", '--samplers: "tfs_z" is no sampler of llama.cpp'),
        ("--cfg-scale 1.5", "--cfg-scale 1.5: alone it sets the prompt against the start token in llama.cpp, its last in gencli"),
        ("--cfg-negative-prompt-file x.txt", "--cfg-negative-prompt-file .*no file is read here"),
        ("--repeat-last-n -1", "repeat_last_n -1 is carried over as what it is documented to mean"),
    ],
)
def test_what_cannot_be_carried_over_is_named(text, said):
    import re

    (sentence,) = read(f"llama-cli {text}").lost
    assert re.match(said, sentence)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "here is empty"),
        ("llama-cli\n--temp x", 'here, line 2: --temp must be a number, not "x"'),
        ("--temp", "here, line 1: --temp needs a value"),
        ("--top-k 1e3", "here, line 1: --top-k must be a whole number"),
        ("--mirostat 7", "here, line 1: --mirostat must be 0, 1 or 2"),
        ("-l 5", "here, line 1: -l must be TOKEN_ID+BIAS"),
        ("--temp 'x", "here, line 1: a quotation mark is never closed"),
        ("\n--temp \x1b", "here, line 2: the control character U+001B"),
        ("x " * 60_000, "here holds more than 100,000 characters"),
        ("-r '\\xff'", "here"),
    ],
)
def test_a_damaged_command_line_is_a_sentence_with_its_line(text, said):
    with pytest.raises(UsageError) as caught:
        read(text)
    assert str(caught.value).startswith(said)


def test_each_program_is_recognised():
    assert recognised("llama-server --temp 0.7", "here").name == "llama.cpp"
    assert recognised('\n{"top_k": 3}', "here").name == "transformers"
    assert recognised("# mine\nFROM llama3\nPARAMETER top_k 3", "here").name == "ollama"
    with pytest.raises(UsageError, match=r"say with --from which it is: llama\.cpp, ollama, transformers"):
        recognised("hello", "here")
