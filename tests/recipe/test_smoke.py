"""The whole way as one command, in processes of their own: stopped and continued, it makes the same checkpoint to the bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from recipe.__main__ import recipe
from recipe.corpus import Sources

SIZE = {"vocabulary": 320, "layers": 2, "width": 32, "mlp": 48, "heads": 2, "rows": 1, "context": 128, "steps": 60, "seed": 3, "samples": 2}
SHAPE = [word for name, value in SIZE.items() for word in (f"--{name}", str(value))]


def command(root: Path, sources: Sources, checkpoint: Path, work: Path) -> list[str]:
    given = {"prose": sources.prose, "stories": sources.stories, "chat": sources.chat, "code": sources.code, "held-out": sources.held}
    texts = [word for name, place in given.items() for word in (f"--{name}", str(place))]
    return [sys.executable, str(root / "checkpoints" / "recipe"), "all", str(checkpoint), "--work", str(work), *texts, *SHAPE]


@pytest.mark.slow
def test_one_command_makes_a_checkpoint_and_goes_on_where_it_was_stopped(root: Path, sources: Sources, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    whole = command(root, sources, tmp_path / "whole", tmp_path / "work1")
    done = subprocess.run(whole, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr

    stopped = command(root, sources, tmp_path / "parts", tmp_path / "work2")
    with subprocess.Popen(stopped, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "from step 0" in line:
                break
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
    assert process.returncode == 128 + signal.SIGTERM, rest
    assert not (tmp_path / "parts").exists()
    again = subprocess.run(stopped, env=environment, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert "from step 0" not in again.stderr

    weighed = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert sorted(each.name for each in (tmp_path / "whole").iterdir()) == sorted([*weighed, "README.md", "loss.svg"])
    for name in weighed:
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    card = (tmp_path / "whole" / "README.md").read_text(encoding="utf-8")
    for told in ("# whole", "| whole |", "| xz -9 |", "stories that loop: ", "chat, seed 1:", "![The loss over the tokens](loss.svg)"):
        assert told in card
    assert card.startswith("---\nlicense: mit\n")
    further = [*command(root, sources, tmp_path / "further", tmp_path / "work3"), "--from", str(tmp_path / "whole")]
    subprocess.run(further, env=environment, capture_output=True, timeout=300, check=True)
    assert (tmp_path / "further" / "tokenizer.json").read_bytes() == (tmp_path / "whole" / "tokenizer.json").read_bytes()
    card = (tmp_path / "further" / "README.md").read_text(encoding="utf-8")
    assert "Trained on 61,440 tokens, the first 30,720 of them in an earlier run (" in card
    assert "): in the later one Muon at" in card
    assert "share of the later run's rows" in card
    generate = [sys.executable, "-m", "gencli", "generate", "--checkpoint", str(tmp_path / "whole"), "--max-new-tokens", "8", "Once"]
    assert subprocess.run(generate, env=environment, capture_output=True, timeout=60, check=True).stdout


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("prose=1", "must name each of prose, stories, chat, functions, modules"),
        ("prose=1,stories=x", "is not of the form prose="),
        ("prose=0,stories=1,chat=1,functions=1,modules=1", "a number over 0"),
        ("prose=nan,stories=1,chat=1,functions=1,modules=1", "a number over 0"),
    ],
)
def test_a_mixture_that_cannot_be_is_a_sentence(given: str, told: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(recipe, ["train", str(tmp_path), "--run", str(tmp_path / "run"), "--mixture", given])
    assert done.exit_code == 2
    assert told in " ".join(done.output.split())


def test_what_a_run_cannot_begin_with_is_a_sentence(data: Path, fable: Path, tmp_path: Path) -> None:
    words = ["train", str(data), "--run", str(tmp_path / "run"), "--steps", "1", "--from"]
    done = CliRunner().invoke(recipe, [*words, str(data)])
    assert done.exit_code == 2
    assert "there is no README.md in it" in " ".join(done.output.split())
    done = CliRunner().invoke(recipe, [*words, str(fable)])  # another vocabulary
    assert done.exit_code == 2
    assert "do not fit the run's size" in " ".join(done.output.split())
