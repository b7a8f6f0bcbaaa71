"""Plain HTTP for the kubelet and for Prometheus: /livez, /readyz, /metrics.

Live is a process whose event loop turns and whose watches hear something (the server sends a bookmark each minute); ready is one whose
picture of the cluster is complete, leading or not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from kubetuner.controller.cache import Cache
from kubetuner.controller.metrics import CONTENT_TYPE, Metrics
from kubetuner.controller.reflector import Reflector

_SILENT: Final = 300.0
_LAG: Final = 20.0
_BEAT: Final = 1.0
_LONGEST_REQUEST: Final = 8192

Answer = tuple[int, str, bytes]


@dataclass(slots=True, kw_only=True)
class Health:
    """What the process knows of itself."""

    reflectors: Sequence[Reflector]
    caches: Sequence[Cache]
    metrics: Metrics
    clock: Callable[[], float] = time.monotonic
    _beat: float = field(default_factory=time.monotonic)

    async def beat(self) -> None:
        """Show that the event loop turns, until cancelled."""
        while True:
            self._beat = self.clock()
            await asyncio.sleep(_BEAT)

    def answer(self, path: str) -> Answer:
        """Status, content type and body for a path."""
        if path in ("/livez", "/healthz"):
            return self._said(self._faults())
        if path == "/readyz":
            return self._said([] if all(cache.synced for cache in self.caches) else ["the first lists are not complete"])
        if path == "/metrics":
            return 200, CONTENT_TYPE, self.metrics.text()
        return 404, "text/plain", b"not found\n"

    def _faults(self) -> list[str]:
        now = self.clock()
        found = [f"the event loop stood for {now - self._beat:.0f} s"] if now - self._beat > _LAG else []
        silent = [(one, now - one.last_success) for one in self.reflectors if now - one.last_success > _SILENT]
        return found + [f"nothing was heard of {one.kind.plural} {one.namespace} for {seconds:.0f} s" for one, seconds in silent]

    @staticmethod
    def _said(faults: list[str]) -> Answer:
        return (503, "text/plain", ("\n".join(faults) + "\n").encode()) if faults else (200, "text/plain", b"ok\n")


async def serve(listen: str, answer: Callable[[str], Answer]) -> asyncio.Server:
    """Answer GETs at an address `host:port` (`[::]:8081` is every address)."""
    host, _, port = listen.rpartition(":")

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(10):
                line = (await reader.readuntil(b"\r\n")).decode("latin-1").split(" ")
                await reader.readuntil(b"\r\n\r\n") if line[-1].startswith("HTTP/1") else None
                status, kind, body = answer(line[1].split("?")[0]) if len(line) == 3 and line[0] == "GET" else (405, "text/plain", b"")
                words = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}[status]
                head = f"HTTP/1.1 {status} {words}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    address = host.strip("[]")
    return await asyncio.start_server(one, None if address in ("", "::") else address, int(port), limit=_LONGEST_REQUEST)
