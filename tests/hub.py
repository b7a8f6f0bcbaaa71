"""A Hub on loopback for tests: the two addresses of the Hugging Face Hub that bringing a model asks, over a folder.

Large files are answered by a redirect to another host name, as the Hub does; that host must never be told the token.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from tests.ports import free_port

LARGE = 1024
COMMIT = "5" * 40


@dataclass
class FakeHub:
    """One repository at one commit; use as a context."""

    folder: Path
    hub_id: str = "owner/tiny"
    token: str = ""
    """Needed where it is not empty."""
    failures: int = 0
    """Answers from now on that are status 503."""
    asked: Counter[str] = field(default_factory=Counter)
    """Requests by path, without those for the api."""
    leaked: bool = False
    """Whether the other host was told a token."""
    port: int = 0
    _server: ThreadingHTTPServer | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.port = self.port or free_port()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(request.path).path)
        if self._fails():
            return _send(request, 503, b"busy")
        if path.startswith("/large/"):
            self.leaked |= "Authorization" in request.headers
            return self._file(request, path.removeprefix("/large/"))
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return _send(request, 401, b"no")
        if path.startswith(f"/api/models/{self.hub_id}/revision/"):
            known = path.rpartition("/")[2] in ("main", "v1", COMMIT)
            return _send(request, 200, json.dumps(self._listing()).encode()) if known else _send(request, 404, b"none")
        place = path.removeprefix(f"/{self.hub_id}/resolve/{COMMIT}/")
        if place == path or not (self.folder / place).is_file():
            return _send(request, 404, b"none")
        with self._lock:
            self.asked[place] += 1
        if (self.folder / place).stat().st_size < LARGE:
            return self._file(request, place)
        request.send_response(302)
        request.send_header("Location", f"http://localhost:{self.port}/large/{place}")
        request.send_header("Content-Length", "0")
        request.end_headers()
        return None

    def _fails(self) -> bool:
        with self._lock:
            fails = self.failures > 0
            self.failures -= fails
        return fails

    def _listing(self) -> dict[str, object]:
        rows = []
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            data = path.read_bytes()
            row: dict[str, object] = {"rfilename": path.relative_to(self.folder).as_posix(), "size": len(data)}
            if len(data) >= LARGE:
                row["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
            rows.append(row)
        return {"sha": COMMIT, "siblings": rows}

    def _file(self, request: BaseHTTPRequestHandler, place: str) -> None:
        data = (self.folder / place).read_bytes()
        first, _, last = request.headers["Range"].removeprefix("bytes=").partition("-")
        _send(request, 206, data[int(first) : int(last) + 1])


def _send(request: BaseHTTPRequestHandler, status: int, data: bytes) -> None:
    request.send_response(status)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    request.wfile.write(data)
