"""A small hub on this machine: the protocol that huggingface_hub speaks, and the misbehaviour that one must survive."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
LFS = 1000  # bytes; what is larger is stored by its sha256


class HubServer(ThreadingHTTPServer):
    """Serves `repos`: name -> {file: bytes}; `seen` holds what was asked, `change` and `answer` misbehave.

    `change(entry)` alters a file's entry in the list; `answer(handler)` may answer a request itself and
    say so. `cut` is after how many bytes the connection breaks, once for each number in it.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, dict[str, bytes]] = {}
        self.revisions = {"main": COMMIT, COMMIT: COMMIT}
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.cut: list[int] = []
        self.change: Callable[[dict[str, Any]], dict[str, Any]] = lambda entry: entry
        self.answer: Callable[[_Handler], bool] = lambda handler: False
        self.ranges = True
        self.pause = 0.0  # seconds before an answer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def asked(self, method: str, ending: str = "") -> list[dict[str, str]]:
        """The headers of every request with this method for a path that ends so."""
        return [headers for each, path, headers in self.seen if each == method and path.endswith(ending)]

    def handle_error(self, request: object, client_address: object) -> None:
        """Who breaks a connection off is no news."""


def digest_of(data: bytes) -> str:
    """What the hub calls a blob: the sha256 of a large file, git's digest of a small one."""
    if len(data) > LFS:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def do_GET(self) -> None:
        self.server.seen.append((self.command, urlsplit(self.path).path, dict(self.headers)))
        time.sleep(self.server.pause)
        if self.server.answer(self):
            return
        path = unquote(urlsplit(self.path).path)
        if match := re.fullmatch(r"/api/models/(.+?)/revision/(.+)", path):
            self._list(*match.groups())
        elif match := re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path):
            self._file(*match.groups())
        else:
            self.refuse(404)

    do_HEAD = do_GET

    def _list(self, repo: str, revision: str) -> None:
        if repo not in self.server.repos:
            return self.refuse(401, "RepoNotFound")
        if revision not in self.server.revisions:
            return self.refuse(404, "RevisionNotFound")
        entries = []
        for name, data in self.server.repos[repo].items():
            entry: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": digest_of(data)}
            if len(data) > LFS:
                entry["lfs"] = {"sha256": digest_of(data), "size": len(data), "pointerSize": 134}
            entries.append(self.server.change(entry))
        return self.say(200, json.dumps({"id": repo, "sha": self.server.revisions[revision], "siblings": entries}).encode())

    def _file(self, repo: str, revision: str, name: str) -> None:
        data = self.server.repos.get(repo, {}).get(name)
        if data is None:
            return self.refuse(404, "EntryNotFound")
        headers = {"ETag": f'"{digest_of(data)}"', "X-Repo-Commit": self.server.revisions[revision], "Accept-Ranges": "bytes"}
        headers |= {"X-Linked-Size": str(len(data)), "X-Linked-ETag": f'"{digest_of(data)}"'} if len(data) > LFS else {}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and self.server.ranges else 0
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return self.say(206 if start else 200, data[start:], headers)

    def refuse(self, status: int, code: str = "") -> None:
        self.say(status, b"{}", {"X-Error-Code": code} if code else {})

    def say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.server.cut and len(body) > self.server.cut[0]:
            self.wfile.write(body[: self.server.cut.pop(0)])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@contextmanager
def serving() -> Iterator[HubServer]:
    """A hub that answers within."""
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
