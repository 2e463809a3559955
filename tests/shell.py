"""Runs the installed command the way a shell does."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

COMMAND = Path(sysconfig.get_path("scripts")) / "gencli"
TIMEOUT = 120


@dataclass(frozen=True)
class Result:
    """What a finished command left: its exit code and both streams."""

    code: int
    out: bytes
    err: str


class Shell:
    """Runs `gencli` in an empty folder with an environment of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        keep = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("GENCLI_", "XDG_", "LC_", "LANG", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"))
        }
        self.env = {**keep, "HOME": str(folder / "home"), "TERM": "xterm-256color"}
        self.command = str(COMMAND)

    def __call__(self, *args: str | bytes, stdin: bytes | None = None, env: dict[str, str] | None = None, **more: object) -> Result:
        """`stdin` None is /dev/null; bytes go through a pipe."""
        feed = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        done = subprocess.run(
            [self.command, *args],
            capture_output=True,
            cwd=self.folder,
            env={**self.env, **(env or {})},
            timeout=TIMEOUT,
            check=False,
            **feed,
            **more,
        )  # type: ignore[call-overload]
        return Result(done.returncode, done.stdout, done.stderr.decode())

    def sh(self, script: str, env: dict[str, str] | None = None) -> Result:
        """A shell line, with `gencli` on its PATH; the exit code is that of `gencli` where it says `exit ${PIPESTATUS[0]}`."""
        path = f"{COMMAND.parent}:{self.env.get('PATH', '')}"
        done = subprocess.run(
            ["bash", "-c", script],
            capture_output=True,
            cwd=self.folder,
            env={**self.env, "PATH": path, **(env or {})},
            timeout=TIMEOUT,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Result(done.returncode, done.stdout, done.stderr.decode())

    def popen(self, *args: str, **more: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen([self.command, *args], cwd=self.folder, env=self.env, **more)  # type: ignore[call-overload,no-any-return]
