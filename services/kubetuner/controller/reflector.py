"""A picture of the cluster that follows it: list, then watch, for ever.

A Cache holds the objects of one kind, trimmed; a Reflector keeps it true. What can go wrong is met here once: a watch that ends, breaks,
falls silent or is too old (410), lists by pages, deletions that were missed, servers that refuse. Reads are of memory and cost nothing.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from kubetuner import log
from kubetuner.controller.api import ApiError, Cluster, Json, Kind

_LOG: Final = log.get(__name__)
_WATCH_SECONDS: Final = (300.0, 600.0)
_BACKOFF: Final = (0.2, 30.0)
_FIELDS: Final = ("managedFields", "selfLink")
_SHORT: Final = 64
_PAGE: Final = 100  # whole objects of a page are held at once; larger pages are no faster

Heard = Callable[[Json, bool], None]
"""Told of each object that was added, changed or (True) deleted."""


def as_is(found: Json) -> Json:
    """An object without what nobody reads."""
    meta = found["metadata"]
    for name in _FIELDS:
        meta.pop(name, None)
    if annotations := meta.get("annotations"):
        annotations.pop("kubectl.kubernetes.io/last-applied-configuration", None)
    return found


def compact(found: Any) -> Any:
    """An equal value whose names and short texts are shared with all others: thousands of objects have the same ones."""
    if isinstance(found, dict):
        return {sys.intern(key): compact(value) for key, value in found.items()}
    if isinstance(found, list):
        return [compact(value) for value in found]
    return sys.intern(found) if type(found) is str and len(found) <= _SHORT else found


class Cache:
    """Objects of one kind by namespace and name, and by the UID of their owner."""

    def __init__(self, trim: Callable[[Json], Json] = as_is) -> None:
        self._trim = trim
        self._objects: dict[tuple[str, str], Json] = {}
        self._owned: dict[str, set[tuple[str, str]]] = {}
        self._heard: list[Heard] = []
        self._versions: dict[str, int] = {}
        self._waiting: set[str] = set()
        self.synced = False
        """Whether every namespace has been listed."""

    def trimmed(self, found: Json) -> Json:
        """What is kept of an object; of one that was trimmed already, the same."""
        kept: Json = compact(self._trim(found))
        return kept

    def hear(self, heard: Heard) -> None:
        """Tell of every change from now on."""
        self._heard.append(heard)

    def get(self, namespace: str, name: str) -> Json | None:
        """The object as last seen."""
        return self._objects.get((namespace, name))

    def all(self) -> Iterator[Json]:
        """All objects, of a moment."""
        return iter(list(self._objects.values()))

    def owned(self, uid: str) -> list[Json]:
        """Objects whose controller has this UID."""
        return [self._objects[key] for key in sorted(self._owned.get(uid, ()))]

    def __len__(self) -> int:
        return len(self._objects)

    def learn(self, found: Json, *, scope: str | None = None, surely: bool = False) -> bool:
        """Take in the answer to a write, before the watch tells of it; nothing where the watch is past it already. True where it is new.

        `scope` is given by the reflector itself, whose order is the truth. `surely` is of an object that the server has just shown, which a
        watch must have missed where it is past it.
        """
        key, version = _key(found), _version(found)
        if scope is None and not surely and version <= max((self._versions.get(one, 0) for one in ("", key[0])), default=0):
            return False
        held = self._objects.get(key)
        if held is not None and version <= _version(held):
            return False
        self._put(key, held, self.trimmed(found))
        return True

    def expect(self, scopes: Iterable[str]) -> None:
        """Name the namespaces that must be listed before `synced`."""
        self._waiting = set(scopes)

    def replace(self, scope: str, found: list[Json], version: str) -> None:
        """The whole list of a namespace (all with an empty one), trimmed already: what is not in it is gone."""
        there = {_key(one) for one in found}
        for key in [key for key in self._objects if (not scope or key[0] == scope) and key not in there]:
            if _version(self._objects[key]) <= _number(version):
                self.remove(self._objects[key])
        for one in found:
            held = self._objects.get(_key(one))
            if held is None or _version(one) > _version(held):
                self._put(_key(one), held, one)
        self.reach(scope, version)
        self._waiting.discard(scope)
        self.synced = self.synced or not self._waiting

    def remove(self, found: Json) -> None:
        """The object is gone."""
        key = _key(found)
        held = self._objects.get(key)
        if held is None or _version(held) > _version(found):
            return
        del self._objects[key]
        self._index(key, held, add=False)
        for heard in self._heard:
            heard(held, True)

    def reach(self, scope: str, version: str) -> None:
        """The watch of a namespace has told of everything up to this version."""
        self._versions[scope] = max(self._versions.get(scope, 0), _number(version))

    def _put(self, key: tuple[str, str], held: Json | None, found: Json) -> None:
        if held is not None:
            self._index(key, held, add=False)
            if held["metadata"]["uid"] != found["metadata"]["uid"]:
                for heard in self._heard:
                    heard(held, True)
        self._objects[key] = found
        self._index(key, found, add=True)
        for heard in self._heard:
            heard(found, False)

    def _index(self, key: tuple[str, str], found: Json, *, add: bool) -> None:
        uid = owner(found)
        if not uid:
            return
        if add:
            self._owned.setdefault(uid, set()).add(key)
        elif keys := self._owned.get(uid):
            keys.discard(key)
            if not keys:
                del self._owned[uid]


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


def owner(found: Json) -> str:
    """UID of the controller that owns the object; empty where none does."""
    return next((one["uid"] for one in found["metadata"].get("ownerReferences") or () if one.get("controller")), "")


def _key(found: Json) -> tuple[str, str]:
    meta = found["metadata"]
    return meta.get("namespace", ""), meta["name"]


def _version(found: Json) -> int:
    return _number(found["metadata"].get("resourceVersion", ""))


def _number(version: str) -> int:
    """Versions are compared as numbers, which Kubernetes allows since 1.35 and always did in fact."""
    return int(version) if version.isdigit() else 0
