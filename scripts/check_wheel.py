"""Builds sdist and wheel, installs the wheel into an empty environment, runs it in an empty folder. Knows no code of gencli."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CARRIED = ("gencli/py.typed", "gencli/shipped/configs/presets/creative.yaml", "gencli/shipped/checkpoints/fable-6m/model.safetensors")
MAIN_JOB = ("generate", "--preset", "creative", "--seed", "1", "--max-new-tokens", "40", "Once upon a time")
WHERE = (
    "import gencli; from gencli import shipped; print(gencli.__file__); print(*map(shipped.folder, ('configs', 'checkpoints')), sep='\\n')"
)


def output(*command: str | Path, cwd: Path = ROOT) -> str:
    """What a command writes to stdout; ends the check where the command fails."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("GENCLI_", "PYTHON"))}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, stdout=subprocess.PIPE, encoding="utf-8", timeout=900)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}")
    return done.stdout


def build(folder: Path) -> Path:
    """The wheel, made from the sdist, so that both are whole; nothing is downloaded."""
    output(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder)
    (wheel,) = folder.glob("*.whl")
    inside = zipfile.ZipFile(wheel).namelist()
    missing = [name for name in CARRIED if name not in inside]
    strangers = {name.split("/")[0] for name in inside if not name.startswith(("gencli/", "gencli-"))}
    if missing or strangers:
        sys.exit(f"{wheel.name}: missing {missing}, not its own {sorted(strangers)}")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """The scripts of a new environment that holds the wheel and what it depends on; torch comes as in `make`."""
    venv.create(folder, with_pip=True)
    pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--constraint", "constraints.txt"]
    output(*pip, "pip")
    if index := os.environ.get("TORCH_INDEX"):
        output(*pip, "--no-deps", "--index-url", index, "torch")
    output(*pip, wheel)
    return folder / "bin"


def main_job(scripts: Path, empty: Path) -> str:
    """The text that the installed command writes; the reader that leaves early is served too."""
    text = output(scripts / "gencli", *MAIN_JOB, cwd=empty)
    quoted = " ".join(f"'{word}'" for word in MAIN_JOB)
    head = output("sh", "-c", f"'{scripts / 'gencli'}' {quoted} | head -c 20", cwd=empty)
    if not text.strip() or head != text[: len(head)] or len(head.encode()) != min(20, len(text.encode())):
        sys.exit(f"the main job wrote {text!r}, and {head!r} for a reader of 20 bytes")
    return text


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        empty = folder / "empty"
        empty.mkdir()
        scripts = install(build(folder / "dist"), folder / "environment")
        places = output(scripts / "python", "-c", WHERE, cwd=empty).split()
        if not all(Path(place).is_relative_to(folder) for place in places):
            sys.exit(f"the installed gencli reads files outside its environment: {places}")
        text = main_job(scripts, empty)
        if "creative" not in output(scripts / "gencli", "presets", "list", cwd=empty):
            sys.exit("the installed gencli lists no preset 'creative'")
        here = output(Path(sys.executable).parent / "gencli", *MAIN_JOB, cwd=empty)
        if here != text:
            sys.exit(f"the editable install writes another text: {here!r} instead of {text!r}")
        if left := sorted(path.name for path in empty.iterdir()):
            sys.exit(f"the main job left files where it ran: {left}")
    print(f"The wheel works: {text.strip().splitlines()[0][:60]!r} ...")


main()
