"""Starts `gencli` from a process that has imported it already: the command without the second that importing torch takes.

A fork of it has the arguments, folder, environment and descriptors that a caller names, as a fresh process would. What depends
on the interpreter's own start (a locale, an import that must not happen) has to be tested with the installed command itself.
"""

from __future__ import annotations

import array
import atexit
import functools
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

EARLY = ("LC_", "LANG", "PYTHON", "OMP_", "MKL_", "KMP_")  # what an interpreter or a library reads once, while it starts


class Running:
    """A command that was started: its process and, later, its exit code (of a signal: minus its number)."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self.pid = int.from_bytes(link.recv(8), "little")
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        if self._code is None and not select.select([self._link], [], [], 0)[0]:
            return None
        return self.wait()

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; after `timeout` seconds the process is killed, and that is an error."""
        if self._code is None:
            if timeout is not None:
                self._link.settimeout(timeout)
            try:
                said = self._link.recv(4)
            except TimeoutError:
                os.kill(self.pid, signal.SIGKILL)
                raise
            assert said, "the process that starts commands is gone"
            self._code = int.from_bytes(said, "little", signed=True)
            self._link.close()
        return self._code


def fits(env: Mapping[str, str]) -> bool:
    """Whether a fork can have this environment: nothing in it differs that is read only while an interpreter starts."""
    early = {key for key in {*env, *os.environ} if key.startswith(EARLY)}
    return all(env.get(key) in (None, os.environ.get(key)) for key in early)


def start(
    args: Sequence[str | bytes], cwd: Path, env: Mapping[str, str], descriptors: Sequence[int], *, new_session: bool = False
) -> Running:
    """Start `gencli ARGS` with these three descriptors as its standard streams."""
    link = socket.socket(socket.AF_UNIX)
    link.connect(_starter())
    arguments = [os.fsencode(each).decode("latin-1") for each in args]
    wish = json.dumps([arguments, str(cwd), dict(env), new_session]).encode("utf-8", "surrogatepass")
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
    link.sendmsg([len(wish).to_bytes(8, "little")], [rights])
    link.sendall(wish)
    return Running(link)


@functools.cache
def _starter() -> str:
    """The address of this process's own starter, which ends with it."""
    folder = tempfile.mkdtemp(prefix="warm-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    address = str(Path(folder) / "starter")
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, __file__, address, str(writing)], pass_fds=[writing], stdin=subprocess.DEVNULL, start_new_session=True
    )
    os.close(writing)
    assert os.read(reading, 1), "the process that starts commands did not come up"
    os.close(reading)
    atexit.register(process.kill)
    return address


def _preload() -> None:
    import pkgutil
    from importlib import import_module

    import rich.console
    import safetensors.torch
    import tiktoken
    import tokenizers
    import torch

    import gencli

    assert all((rich.console, safetensors.torch, tiktoken, tokenizers, torch))
    for module in pkgutil.walk_packages(gencli.__path__, "gencli."):
        if not module.name.startswith(("gencli.compiled", "gencli.__main__")):
            import_module(module.name)


def _carry_out(link: socket.socket) -> None:
    """One connection: a child that becomes the command, and its exit code to whoever asked."""
    message, rights, *_ = link.recvmsg(8, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    descriptors = array.array("i", rights[0][2])
    size, wish = int.from_bytes(message, "little"), b""
    while len(wish) < size:
        wish += link.recv(size - len(wish))
    arguments, folder, environment, new_session = json.loads(wish.decode("utf-8", "surrogatepass"))
    child = os.fork()
    if child:
        for each in descriptors:
            os.close(each)
        link.sendall(child.to_bytes(8, "little"))
        _, status = os.waitpid(child, 0)
        try:
            link.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "little", signed=True))
        finally:
            os._exit(0)
    _become(descriptors, arguments, folder, environment, new_session)


def _become(descriptors: Sequence[int], arguments: list[str], folder: str, environment: dict[str, str], new_session: bool) -> None:
    """What an interpreter would have found at its start."""
    from gencli.cli import main

    for target, source in enumerate(descriptors):
        os.dup2(source, target)
    os.closerange(3, 256)
    if new_session:
        os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["gencli", *(os.fsdecode(each.encode("latin-1")) for each in arguments)]
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    main()


if __name__ == "__main__":
    sys.path = [place for place in sys.path if Path(place or ".").resolve() != Path(__file__).parent.resolve()]
    _preload()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(sys.argv[1])
    listening.listen(16)
    os.write(int(sys.argv[2]), b"1")
    os.close(int(sys.argv[2]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for a command
    parent = os.getppid()
    listening.settimeout(2)
    while os.getppid() == parent:
        try:
            connection, _ = listening.accept()
        except TimeoutError:
            continue
        connection.settimeout(None)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listening.close()
            _carry_out(connection)
        connection.close()
