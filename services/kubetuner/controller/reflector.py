"""A picture of the cluster that follows it: list, then watch, for ever.

A Cache (cache.py) holds the objects of one kind; a Reflector keeps it true. What can go wrong is met here once: a watch that ends, breaks,
falls silent or is too old (410), lists by pages, deletions that were missed, servers that refuse.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Final

from kubetuner import log
from kubetuner.controller.api import ApiError, Cluster, Json, Kind
from kubetuner.controller.cache import Cache

_LOG: Final = log.get(__name__)
_WATCH_SECONDS: Final = (300.0, 600.0)
_BACKOFF: Final = (0.2, 30.0)
_PAGE: Final = 100  # whole objects of a page are held at once; larger pages are no faster


@dataclass(slots=True, kw_only=True)
class Reflector:
    """Keeps a cache true to one kind in one namespace (all with an empty one)."""

    cluster: Cluster
    kind: Kind
    namespace: str
    cache: Cache
    labels: str = ""
    last_success: float = field(default_factory=time.monotonic)
    """When the server last answered: a list, an event, a bookmark, or a watch that ended in order."""
    relists: int = 0
    random: random.Random = field(default_factory=random.Random)
    watch_seconds: tuple[float, float] = _WATCH_SECONDS
    backoff: tuple[float, float] = _BACKOFF
    relist_seconds: float = 1800.0
    """After so long everything is listed again, in case an event was lost on the way."""
    _listed: float = 0.0

    async def run(self) -> None:
        """Follow until cancelled."""
        failures, version = 0, ""
        while True:
            try:
                if not version or time.monotonic() - self._listed > self.relist_seconds:
                    version = await self._list()
                version = await self._watch(version)
                failures = 0
            except ApiError as error:
                if error.status == 410:
                    version = ""
                    if failures == 0:  # relist at once, but never in a tight circle
                        failures += 1
                        continue
                failures += 1
                await self._pause(failures, error)

    async def _list(self) -> str:
        found: list[Json] = []
        rest = version = ""
        while True:
            page = await self.cluster.list(self.kind, self.namespace, labels=self.labels, limit=_PAGE, rest=rest)
            found.extend(self.cache.trimmed(one) for one in page.items)  # page by page: whole objects are ten times as large
            rest, version = page.rest, page.version
            if not rest:
                break
        self.relists += 1
        self.last_success = self._listed = time.monotonic()
        self.cache.replace(self.namespace, found, version)
        return version

    async def _watch(self, version: str) -> str:
        seconds = self.random.uniform(*self.watch_seconds)
        at = version
        try:
            async for change in self.cluster.watch(self.kind, self.namespace, labels=self.labels, version=version, seconds=seconds):
                self.last_success = time.monotonic()
                at = change.object["metadata"]["resourceVersion"]
                if change.type == "DELETED":
                    self.cache.remove(change.object)
                elif change.type != "BOOKMARK":
                    self.cache.learn(change.object, scope=self.namespace)
                self.cache.reach(self.namespace, at)
        except ApiError as error:
            if error.status == 410:
                raise
            if at == version:
                raise
            return at  # it broke after it had told something: go on from there, at once
        self.last_success = time.monotonic()
        return at

    async def _pause(self, failures: int, error: ApiError) -> None:
        first, longest = self.backoff
        pause = self.random.uniform(0, min(longest, first * 2 ** min(failures, 20)))
        _LOG.warning("watch failed", kind=self.kind.name, namespace=self.namespace, error=str(error), pause=round(pause, 2))
        await asyncio.sleep(max(pause, error.retry_after))
