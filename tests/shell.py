"""Runs the installed command the way a shell does."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sysconfig
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import warm

COMMAND = Path(sysconfig.get_path("scripts")) / "gencli"
TIMEOUT = 120


@dataclass(frozen=True)
class Result:
    """What a finished command left: its exit code and both streams."""

    code: int
    out: bytes
    err: str


def _read(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:
        return file.read()


def _write(descriptor: int, content: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), open(descriptor, "wb") as file:
        file.write(content)


class Shell:
    """Runs `gencli` in an empty folder with an environment of its own; `sh` and `popen` start the installed command itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        keep = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("GENCLI_", "XDG_", "LC_", "LANG", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"))
        }
        self.env = {**keep, "HOME": str(folder / "home"), "TERM": "xterm-256color"}
        self.command = str(COMMAND)

    def __call__(self, *args: str | bytes, stdin: bytes | None = None, env: dict[str, str] | None = None) -> Result:
        """`stdin` None is /dev/null; bytes go through a pipe."""
        environment = {**self.env, **(env or {})}
        if warm.fits(environment):
            return self._warm(args, stdin, environment)
        feed = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        done = subprocess.run(
            [self.command, *args],
            capture_output=True,
            cwd=self.folder,
            env=environment,
            timeout=TIMEOUT,
            check=False,
            **feed,
        )  # type: ignore[call-overload]
        return Result(done.returncode, done.stdout, done.stderr.decode())

    def _warm(self, args: Sequence[str | bytes], stdin: bytes | None, env: dict[str, str]) -> Result:
        """The same by a fork of a process that has imported gencli."""
        source, feed = (os.open(os.devnull, os.O_RDONLY), None) if stdin is None else os.pipe()
        (out, to_out), (err, to_err) = os.pipe(), os.pipe()
        running = warm.start(args, self.folder, env, (source, to_out, to_err))
        for each in (source, to_out, to_err):
            os.close(each)
        with ThreadPoolExecutor(3) as pool:
            if feed is not None:
                pool.submit(_write, feed, stdin)
            texts = [pool.submit(_read, each) for each in (out, err)]
            code = running.wait(TIMEOUT)
            return Result(code, texts[0].result(), texts[1].result().decode())

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
