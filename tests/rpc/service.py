"""RunService on a real port over TLS, with a cluster and a store in memory behind it."""

from __future__ import annotations

import asyncio
import copy
import functools
import io
import itertools
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubetuner import log
from kubetuner.client.blocking import SyncClient, connect_sync
from kubetuner.controller.api import ACCESS_REVIEW, TOKEN_REVIEW, ApiError, Change, Json, Kind, Page
from kubetuner.controller.cache import Cache
from kubetuner.controller.runs import Journal, Runs
from kubetuner.controller.service_auth import Gate
from kubetuner.controller.service_server import RunServer, ServiceSettings
from kubetuner.rpc.settings import Listening, Tls
from kubetuner.storage.memory import MemoryStore
from tests.rpc.certificates import Certificates, make
from tests.waiting import SECONDS


@dataclass
class Api:
    """The API server's part: runs, tokens, rights."""

    tokens: dict[str, str] = field(default_factory=lambda: {"alice-token": "alice", "bob-token": "bob"})
    """Whom each token stands for."""
    audiences: dict[str, str] = field(default_factory=dict)
    """Audience of a token, where it is not kubetuner."""
    rights: set[tuple[str, str]] = field(default_factory=lambda: {("alice", "team"), ("alice", "other")})
    """(who, namespace): may do everything there."""
    runs: dict[tuple[str, str], Json] = field(default_factory=dict)
    reviews: list[str] = field(default_factory=list)
    failures: list[ApiError] = field(default_factory=list)
    """Raised by the next calls on runs, in order."""
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def create(self, kind: Kind, namespace: str, body: Json, *, dry_run: bool = False) -> Json:
        if kind is TOKEN_REVIEW:
            self.reviews.append("token")
            user = self.tokens.get(body["spec"]["token"])
            known = user is not None and [self.audiences.get(body["spec"]["token"], "kubetuner")] == body["spec"]["audiences"]
            return {"status": {"authenticated": known, "audiences": body["spec"]["audiences"], "user": {"username": user or ""}}}
        if kind is ACCESS_REVIEW:
            self.reviews.append("access")
            wanted = body["spec"]["resourceAttributes"]
            return {"status": {"allowed": (body["spec"]["user"], wanted["namespace"]) in self.rights}}
        self._fail()
        key = (namespace, body["metadata"]["name"])
        if key in self.runs:
            raise ApiError(409, "AlreadyExists", f"{body['metadata']['name']} exists")
        made = copy.deepcopy(body)
        number = next(self._versions)
        made["metadata"] |= {
            "uid": f"uid-{number}",
            "resourceVersion": str(number),
            "creationTimestamp": f"2026-01-01T00:00:{number % 60:02d}Z",
            "generation": 1,
        }
        if not dry_run:
            self.runs[key] = made
        return copy.deepcopy(made)

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        if (namespace, name) not in self.runs:
            raise ApiError(404, "NotFound", f"{name} not found")
        return copy.deepcopy(self.runs[namespace, name])

    async def patch(self, kind: Kind, namespace: str, name: str, body: Json, *, sub: str = "") -> Json:
        self._fail()
        run = self.runs[namespace, name]
        run["spec"] |= body.get("spec", {})
        run["metadata"]["resourceVersion"] = str(next(self._versions))
        return copy.deepcopy(run)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "", foreground: bool = False) -> None:
        self.runs.pop((namespace, name), None)

    async def list(self, kind: Kind, namespace: str, *, labels: str = "", fields: str = "", limit: int = 500, rest: str = "") -> Page:
        return Page(items=[copy.deepcopy(run) for run in self.runs.values()], version=str(next(self._versions)), rest="")

    async def watch(self, kind: Kind, namespace: str, *, labels: str = "", version: str, seconds: float) -> AsyncIterator[Change]:
        return
        yield

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


@dataclass
class Service:
    """A server that runs, and ways to speak to it."""

    api: Api
    store: MemoryStore
    certificates: Certificates
    cache: Cache
    server: RunServer
    runs: Runs
    loop: asyncio.AbstractEventLoop

    @property
    def address(self) -> str:
        return f"localhost:{self.server.port}"

    @contextmanager
    def client(self, token: str | None = "alice-token", **options: Any) -> Iterator[SyncClient]:
        ca = options.pop("ca", self.certificates.authority)
        with connect_sync(self.address, token=token, ca=ca, **{"namespace": "team", "patience_seconds": 5.0, **options}) as found:
            yield found

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=SECONDS)

    def status(self, name: str, status: Json, namespace: str = "team") -> None:
        """What the controller does: write the status, which the reflector then sees."""

        async def write() -> None:
            run = self.api.runs[namespace, name]
            run["status"] = (run.get("status") or {}) | status
            run["metadata"]["resourceVersion"] = str(next(self.api._versions))
            self.cache.learn(copy.deepcopy(run))

        self.run(write())

    def restart(self) -> None:
        """The server ends and another takes its place on the same port, with the same runs; it knows the newest event of each."""

        async def again() -> None:
            port = self.server.port
            await self.server.stop()
            listening = Listening(address=f"localhost:{port}", tls=self.server._settings.listening.tls, reflection=True)
            cache, journal = Cache(), Journal()
            cache.hear(lambda run, deleted: journal.see(run, deleted=deleted))
            cache.replace("", [copy.deepcopy(run) for run in self.api.runs.values()], str(next(self.api._versions)))
            self.cache, self.runs = cache, Runs(self.api, cache, journal)
            self.server = RunServer(ServiceSettings(store="memory:", listening=listening), self.runs, store=self.store)
            await self.server.start()

        self.run(again())


@contextmanager
def serve(folder: Path, *, gate_clock: Any = None, client_authority: Path | None = None, inspection: str = "") -> Iterator[Service]:
    """A server for a test; `inspection` is the address of one that looks at data."""
    log.configure("info", out=io.StringIO())
    loop = _loop()
    certificates = make(folder)
    api, store, cache, journal = Api(), MemoryStore(), Cache(), Journal()
    cache.hear(lambda run, deleted: journal.see(run, deleted=deleted))
    cache.replace("", [], "0")
    runs = Runs(api, cache, journal)
    tls = Tls(certificate=certificates.certificate, key=certificates.key, client_authority=client_authority)
    listening = Listening(address="localhost:0", tls=tls, reflection=True)
    settings = ServiceSettings(store="memory:", listening=listening, inspection=inspection)

    async def start() -> RunServer:
        gate = Gate(runs, clock=gate_clock) if gate_clock is not None else None
        server = RunServer(settings, runs, store=store, gate=gate)
        await server.start()
        return server

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(timeout=SECONDS)
    found = Service(api=api, store=store, certificates=certificates, cache=cache, server=server, runs=runs, loop=loop)
    try:
        yield found
    finally:
        found.run(found.server.stop())


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """One for all tests of a process: grpc's servers speak to theirs when they are collected, and a closed one is an error."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="servers", daemon=True).start()
    return loop
