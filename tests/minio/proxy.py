"""A wire between a client and a server that a test can cut: before the request arrives, or before the answer does."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from tests.minio.server import Server

_METHODS = (b"GET ", b"HEAD ", b"PUT ", b"POST ", b"DELETE ")


@dataclass
class Proxy:
    """Forwards connections to a server; use as a context."""

    server: Server
    connections: int = 0
    """How many there have been."""
    cut_answers: int = 0
    """So many of the next answers are not passed on: the server has done what was asked, and the client cannot know."""
    cut_answers_after: int = 0
    """Bytes of an answer that are passed on before it is cut."""
    cut_answers_to: bytes = b""
    """What stands in the first line of requests whose answers are cut."""
    _listener: socket.socket = field(default_factory=socket.socket)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._listener)  # wakes who waits for connections, which close alone would not
        self._accepting.join()
        self._listener.close()

    @property
    def environment(self) -> dict[str, str]:
        """What tells a run of the server behind this wire."""
        return self.server.environment | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._listener.getsockname()[1]}"}

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """Until either side has ended; only then are both closed, since a number that one thread waits on must not become another's."""
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self.server.port)) as server:
            asked = [b""]
            forwarding = threading.Thread(target=self._forward, args=(client, server, asked), daemon=True)
            forwarding.start()
            self._answer(server, client, asked)
            forwarding.join()

    def _forward(self, client: socket.socket, server: socket.socket, asked: list[bytes]) -> None:
        with suppress(OSError):
            while content := client.recv(1 << 16):
                if content.startswith(_METHODS):
                    asked[0] = content.partition(b"\r\n")[0]
                server.sendall(content)
        _end(server)

    def _answer(self, server: socket.socket, client: socket.socket, asked: list[bytes]) -> None:
        with suppress(OSError):
            while content := server.recv(1 << 16):
                if self.cut_answers_to in asked[0] and self._cuts():
                    client.sendall(content[: self.cut_answers_after])
                    break
                client.sendall(content)
        _end(client)

    def _cuts(self) -> bool:
        """Whether to cut the answer that begins or goes on here."""
        with self._lock:
            cuts = self.cut_answers > 0
            self.cut_answers -= cuts
        return cuts


def _end(connection: socket.socket) -> None:
    """Also for the other thread that waits on it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
