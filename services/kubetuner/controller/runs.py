"""Runs as RunService sees them: snapshots from the reflector (no call), writes by the controller's own account, and a run's events.

    runs.get(namespace, name) -> Json | None                    the CR as last seen; treat as read-only
    runs.list(namespace="") -> list[Json]                       newest first; empty namespace is all that are watched
    await runs.create(namespace, run, dry_run=False) -> Json    ApiError 409 AlreadyExists, 422 Invalid (details.causes name the fields)
    await runs.patch(namespace, name, {"spec": {"suspend": True}}) -> Json      merge patch; ApiError 404
    await runs.delete(namespace, name, uid="") -> None
    async for event in runs.watch(namespace, name, start): ...  start 0: the run as it stands, then new ones; ends with the run;
                                                                TooOld where `start` is older than what is kept (OUT_OF_RANGE)
    await runs.review_token(token, audience) -> Caller | None   TokenReview, not cached here
    await runs.review_access(caller, verb, namespace, name="") -> tuple[bool, str]    SubjectAccessReview, not cached here
    runs.synced -> bool                                          False until the first list is complete (UNAVAILABLE)

Only `api.Cluster` is needed to make one, so that a test runs on a fake (tests/unit/controller/fake.py).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from kubetuner.controller.api import ACCESS_REVIEW, GROUP, RUN, TOKEN_REVIEW, ApiError, Cluster, Json
from kubetuner.controller.cache import Cache

_KEPT: Final = 64
_KEPT_OF_ALL: Final = 2_000
FINISHED: Final = frozenset({"Succeeded", "Failed", "Cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """Something that happened to a run; the parts of the proto's RunEvent."""

    sequence: int
    time: datetime
    type: str
    """`Normal` or `Warning`."""
    reason: str
    message: str
    status: Json
    """The CR's status after it (camelCase JSON)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who a token stands for."""

    username: str
    uid: str
    groups: tuple[str, ...]
    extra: tuple[tuple[str, tuple[str, ...]], ...]


class TooOld(Exception):
    """The event asked for is no longer kept; `oldest` is the first that is."""

    def __init__(self, oldest: int) -> None:
        super().__init__(f"events before {oldest} are no longer kept")
        self.oldest = oldest


class Gone(Exception):
    """The run was deleted."""


class Journal:
    """The last events of the runs that changed last, made from the states that the reflector sees; so any replica has them."""

    def __init__(self) -> None:
        self._events: OrderedDict[str, deque[RunEvent]] = OrderedDict()
        self._count = 0
        self._changed: dict[tuple[str, str], asyncio.Event] = {}

    def see(self, run: Json, *, deleted: bool = False) -> None:
        """Take note of a run's new state, and wake who waits for it."""
        meta, status = run["metadata"], run.get("status") or {}
        uid, sequence = meta["uid"], int(status.get("sequence", 0))
        kept = self._events.get(uid)
        if sequence and (kept is None or kept[-1].sequence < sequence):
            if kept is None or kept[-1].sequence != sequence - 1:  # numbers have no gaps, so what is before one is dropped
                self._drop(uid)
                kept = self._events[uid] = deque()
            kept.append(_event(status, sequence))
            self._count += 1
            if len(kept) > _KEPT:
                kept.popleft()
                self._count -= 1
            self._events.move_to_end(uid)
            while self._count > _KEPT_OF_ALL:
                self._drop(next(iter(self._events)))
        if deleted:
            self._drop(uid)
        if waiting := self._changed.pop((meta["namespace"], meta["name"]), None):
            waiting.set()

    def _drop(self, uid: str) -> None:
        self._count -= len(self._events.pop(uid, ()))

    def since(self, run: Json, start: int) -> list[RunEvent]:
        """Kept events from `start` on; only the newest with 0. Raises TooOld."""
        status = run.get("status") or {}
        newest = int(status.get("sequence", 0))
        kept: Iterable[RunEvent] = self._events.get(run["metadata"]["uid"], ())
        found = list(kept) or ([_event(status, newest)] if newest else [])
        if start == 0:
            return found[-1:]
        if found and start < found[0].sequence:
            raise TooOld(found[0].sequence)
        return [event for event in found if event.sequence >= start]

    async def wait(self, namespace: str, name: str) -> None:
        """Until the run changes."""
        await self._changed.setdefault((namespace, name), asyncio.Event()).wait()


class Runs:
    """What RunService may do with runs."""

    def __init__(self, cluster: Cluster, cache: Cache, journal: Journal) -> None:
        self._cluster = cluster
        self._cache = cache
        self._journal = journal

    @property
    def synced(self) -> bool:
        """Whether the snapshots are complete."""
        return self._cache.synced

    def get(self, namespace: str, name: str) -> Json | None:
        """The run as last seen."""
        return self._cache.get(namespace, name)

    async def fetch(self, namespace: str, name: str) -> Json | None:
        """The run as the API server has it now, for those who cannot wait until it is seen."""
        try:
            found = await self._cluster.get(RUN, namespace, name)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        self._cache.learn(found)
        return found

    def list(self, namespace: str = "") -> list[Json]:
        """Runs as last seen, newest first."""
        found = [run for run in self._cache.all() if not namespace or run["metadata"]["namespace"] == namespace]
        return sorted(found, key=lambda run: (run["metadata"].get("creationTimestamp", ""), run["metadata"]["name"]), reverse=True)

    async def create(self, namespace: str, run: Json, *, dry_run: bool = False) -> Json:
        """Create a run; with `dry_run` the API server only says what it would say."""
        made = await self._cluster.create(RUN, namespace, run, dry_run=dry_run)
        if not dry_run:
            self._cache.learn(made)
        return made

    async def patch(self, namespace: str, name: str, patch: Json) -> Json:
        """Merge into a run."""
        found = await self._cluster.patch(RUN, namespace, name, patch)
        self._cache.learn(found)
        return found

    async def delete(self, namespace: str, name: str, uid: str = "") -> None:
        """Delete a run; its Jobs go with it."""
        await self._cluster.delete(RUN, namespace, name, uid=uid)

    async def watch(self, namespace: str, name: str, start: int = 0) -> AsyncGenerator[RunEvent, None]:
        """Events of a run until it has ended. Raises TooOld, and Gone where it is deleted meanwhile."""
        first = self.get(namespace, name)
        following = start
        while True:
            run = self.get(namespace, name)
            if run is None or first is None or run["metadata"]["uid"] != first["metadata"]["uid"]:
                raise Gone
            changed = asyncio.ensure_future(self._journal.wait(namespace, name))
            try:
                await asyncio.sleep(0)  # lets the wait begin before the state is read
                seen = self.get(namespace, name) or run
                events = self._journal.since(seen, following)
                ended = (seen.get("status") or {}).get("phase") in FINISHED  # of this moment: who takes the events may be slow
                for event in events:
                    yield event
                    following = event.sequence + 1
                if ended:
                    return
                await changed
            finally:
                changed.cancel()

    async def review_token(self, token: str, audience: str) -> Caller | None:
        """Whom the token stands for with this audience; None where it is not valid."""
        body = _review(TOKEN_REVIEW.group_version, "TokenReview", {"token": token, "audiences": [audience]})
        status = (await self._cluster.create(TOKEN_REVIEW, "", body)).get("status") or {}
        if not status.get("authenticated") or audience not in (status.get("audiences") or []):
            return None
        user = status.get("user") or {}
        extra = tuple(sorted((key, tuple(values)) for key, values in (user.get("extra") or {}).items()))
        return Caller(username=user.get("username", ""), uid=user.get("uid", ""), groups=tuple(user.get("groups") or ()), extra=extra)

    async def review_access(self, caller: Caller, verb: str, namespace: str, name: str = "") -> tuple[bool, str]:
        """Whether the caller may do this with runs of the namespace, and the reason."""
        attributes = {"group": GROUP, "resource": RUN.plural, "verb": verb, "namespace": namespace, "name": name}
        spec = {
            "user": caller.username,
            "uid": caller.uid,
            "groups": list(caller.groups),
            "extra": {key: list(values) for key, values in caller.extra},
            "resourceAttributes": attributes,
        }
        body = _review(ACCESS_REVIEW.group_version, "SubjectAccessReview", spec)
        status = (await self._cluster.create(ACCESS_REVIEW, "", body)).get("status") or {}
        return bool(status.get("allowed")) and not status.get("denied"), str(status.get("reason", ""))


def _review(version: str, kind: str, spec: Json) -> Json:
    return {"apiVersion": version, "kind": kind, "spec": spec}


def _event(status: Json, sequence: int) -> RunEvent:
    warning = any(row.get("reason") == status.get("reason") and row.get("retries") for row in status.get("stages") or [])
    kind = "Warning" if warning or status.get("phase") == "Failed" else "Normal"
    reason, message = str(status.get("reason", "")), str(status.get("message", ""))
    return RunEvent(sequence=sequence, time=datetime.now(UTC), type=kind, reason=reason, message=message, status=status)
