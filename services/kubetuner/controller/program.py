"""The parts of the controller, put together, begun in order and ended in order.

Every replica follows the cluster and answers health and RunService; only the one that holds the Lease works on runs. A part that ends by
itself, or a Lease that is lost, ends the process: starting anew is what it does best.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

from kubetuner import log
from kubetuner.controller import service_server
from kubetuner.controller.act import Actor, NotLeading
from kubetuner.controller.api import JOB, POD, RUN, Cluster, Kind
from kubetuner.controller.cache import Cache
from kubetuner.controller.cluster import KubernetesCluster, connect
from kubetuner.controller.feed import Feed
from kubetuner.controller.health import Health, serve
from kubetuner.controller.lease import Election, LeaseLost
from kubetuner.controller.loop import Loop
from kubetuner.controller.metrics import Metrics
from kubetuner.controller.observe import MANAGED_LABEL
from kubetuner.controller.queue import WorkQueue
from kubetuner.controller.reflector import Reflector
from kubetuner.controller.runs import Journal, Runs
from kubetuner.controller.settings import Settings
from kubetuner.controller.stock import Stock
from kubetuner.controller.tell import Teller
from kubetuner.controller.trim import trim_job, trim_pod
from kubetuner.storage import open_store

_LOG: Final = log.get(__name__)
_OURS: Final = f"{MANAGED_LABEL}=kubetuner"
_GRACE: Final = 5.0
_GARBAGE: Final = (3_000, 10, 20)
_LISTING: Final = 60.0


class Program:
    """One controller process."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._environment = environment
        self._metrics = Metrics()
        self._tasks: list[asyncio.Task[Any]] = []

    async def run(self, stop: asyncio.Event) -> int:
        """Run until asked to stop; returns the exit code."""
        cluster = await connect(self._settings.kubeconfig, metrics=self._metrics)
        try:
            return await self._run(cluster, stop)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await cluster.close()

    async def _run(self, cluster: KubernetesCluster, stop: asyncio.Event) -> int:
        gc.set_threshold(*_GARBAGE)
        gc.collect()  # now, while there is little to look through
        gc.disable()  # lists make objects by the hundred thousand and no circles: nothing is looked through before they are complete
        settings = self._settings
        runs, jobs, pods = Cache(), Cache(trim_job), Cache(trim_pod)
        reflectors = [
            *_reflectors(cluster, RUN, runs, settings, ""),
            *_reflectors(cluster, JOB, jobs, settings, _OURS),
            *_reflectors(cluster, POD, pods, settings, _OURS),
        ]
        election = Election(
            cluster=cluster, namespace=settings.namespace, name=settings.lease.name, identity=settings.identity,
            seconds=settings.lease.seconds, renew=settings.lease.renew, retry=settings.lease.retry,
        )  # fmt: skip
        journal = Journal()
        runs.hear(lambda run, deleted: journal.see(run, deleted=deleted))
        loop = self._loop(cluster, runs, jobs, pods, election)
        health = Health(reflectors=reflectors, caches=(runs, jobs, pods), metrics=self._metrics)
        servers = [await serve(listen, health.answer) for listen in {settings.health_listen, settings.metrics_listen}]
        service = self._service(Runs(cluster, runs, journal))
        if service is not None:
            await service.start()  # before the lists, whose end says that we are ready
        self._begin(health.beat(), *(one.run() for one in reflectors))
        picture = asyncio.ensure_future(_picture((runs, jobs, pods)))
        self._begin(self._lead(election, loop, (runs, jobs, pods), picture))
        code = await self._until(stop)
        await self._end(loop, election)
        if service is not None:
            await service.stop()
        for server in servers:
            server.close()
        return code

    def _service(self, runs: Runs) -> service_server.RunServer | None:
        settings = service_server.read(self._environment)
        return None if settings is None else service_server.RunServer(settings, runs, told=self._metrics.rpc)

    def _loop(self, cluster: Cluster, runs: Cache, jobs: Cache, pods: Cache, election: Election) -> Loop:
        settings = self._settings
        queue = WorkQueue(on_wait=self._metrics.waited)
        stock = Stock(open=lambda: open_store(settings.stages.store, path="KUBETUNER_STORE"))
        actor = Actor(cluster=cluster, runs=runs, jobs=jobs, stock=stock, stages=settings.stages, leads=lambda: election.leads)
        teller = Teller(cluster=cluster, identity=settings.identity, leads=lambda: election.leads)
        feed = Feed(changed=lambda key: loop.feed_changed(key), tls=settings.feed_tls)
        loop = Loop(
            runs=runs, jobs=jobs, pods=pods, actor=actor, feed=feed, teller=teller, metrics=self._metrics, queue=queue,
            retry_seconds=settings.retry_seconds, progress_seconds=settings.progress_seconds,
        )  # fmt: skip
        return loop

    async def _lead(self, election: Election, loop: Loop, caches: tuple[Cache, ...], picture: asyncio.Future[None]) -> None:
        """Wait for the Lease and a whole picture, then work until the Lease is lost."""
        await election.acquire()
        holding = asyncio.ensure_future(election.hold())
        self._tasks.append(holding)
        await picture
        self._metrics.leads(True)
        loop.listen()
        for run in caches[0].all():
            loop.queue.add(f"{run['metadata']['namespace']}/{run['metadata']['name']}")
        self._begin(loop.teller.run(), loop.resync(), *(loop.work() for _ in range(self._settings.workers)))
        _LOG.info("works", runs=len(caches[0]), jobs=len(caches[1]), cpu_seconds=round(time.process_time(), 2))
        await holding

    def _begin(self, *parts: Coroutine[Any, Any, Any]) -> None:
        self._tasks.extend(asyncio.ensure_future(part) for part in parts)

    async def _until(self, stop: asyncio.Event) -> int:
        """Until asked to stop (0), or until a part has ended (1)."""
        stopping = asyncio.ensure_future(stop.wait())
        while True:
            done, _ = await asyncio.wait([stopping, *self._tasks], return_when=asyncio.FIRST_COMPLETED, timeout=1.0)
            if stopping in done:
                return 0
            if done:
                stopping.cancel()
                for task in done:
                    error = task.exception()
                    lost = isinstance(error, LeaseLost | NotLeading)
                    _LOG.error("lost the lease" if lost else "a part has ended", error=str(error), exc_info=None if lost else error)
                return 1

    async def _end(self, loop: Loop, election: Election) -> None:
        """Take nothing new, finish what is under way, then let another lead."""
        for task in self._tasks:
            task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await asyncio.gather(*self._tasks, return_exceptions=True)
        loop.feed.close()
        self._metrics.leads(False)
        await election.release()


async def _picture(caches: tuple[Cache, ...]) -> None:
    """Wait until everything was listed once."""
    begun = time.monotonic()
    while not all(cache.synced for cache in caches):
        await asyncio.sleep(0.02)
        if not gc.isenabled() and time.monotonic() - begun > _LISTING:
            gc.enable()  # the server is away: that may last
    gc.freeze()  # what is there now stays: it need not be looked through again and again
    gc.enable()


def _reflectors(cluster: Cluster, kind: Kind, cache: Cache, settings: Settings, labels: str) -> list[Reflector]:
    namespaces = settings.watch_namespaces or ("",)
    cache.expect(namespaces)
    return [Reflector(cluster=cluster, kind=kind, namespace=namespace, cache=cache, labels=labels) for namespace in namespaces]
