"""One controller leads: a Lease that its holder renews, gives back on a graceful end, and loses when it cannot renew in time.

Times are measured by our own monotonic clock from when we saw the Lease change, so clocks of machines need not agree.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from kubetuner import log
from kubetuner.controller.api import LEASE, ApiError, Cluster, Json

_LOG: Final = log.get(__name__)
_POLL: Final = 1.0
"""Seconds between two looks of one who waits: a Lease that is given back is taken this soon."""


class LeaseLost(Exception):
    """Somebody else leads, or may: the process must end."""


@dataclass(slots=True, kw_only=True)
class Election:
    """The contest for one Lease."""

    cluster: Cluster
    namespace: str
    name: str
    identity: str
    seconds: float = 15.0
    """After so long without renewal another may take the Lease."""
    renew: float = 10.0
    """The holder gives up when it could not renew for so long."""
    retry: float = 2.0
    clock: Callable[[], float] = time.monotonic
    random: random.Random = field(default_factory=random.Random)
    _seen: str = ""
    _seen_at: float = 0.0
    _held_until: float = 0.0

    @property
    def leads(self) -> bool:
        """Whether nobody else can lead now: what every write asks first."""
        return self.clock() < self._held_until

    async def acquire(self) -> None:
        """Wait until we lead."""
        while not await self._try():
            await asyncio.sleep(min(self.retry, _POLL) * self.random.uniform(0.8, 1.0))
        _LOG.info("leads", identity=self.identity)

    async def hold(self) -> None:
        """Renew until cancelled. Raises LeaseLost."""
        while True:
            await asyncio.sleep(self.retry)
            asked = self.clock()
            if not await self._try() and not self.leads:
                raise LeaseLost(f"{self.namespace}/{self.name} was not renewed for {self.renew:g} s")
            if self.clock() - asked > self.renew and not self.leads:
                raise LeaseLost(f"renewing {self.namespace}/{self.name} took {self.clock() - asked:.0f} s")

    async def release(self) -> None:
        """Let another lead at once."""
        if not self.leads:
            return
        self._held_until = 0.0
        try:
            lease = await self.cluster.get(LEASE, self.namespace, self.name)
            if (lease.get("spec") or {}).get("holderIdentity") == self.identity:
                await self._write(lease, holder="", seconds=1)
        except ApiError as error:
            _LOG.warning("the lease could not be given back", error=str(error))

    async def _try(self) -> bool:
        """Take or renew the Lease where we may. False where another holds it or the server does not answer."""
        asked = self.clock()
        try:
            async with asyncio.timeout(self.renew / 2):
                taken = await self._take()
        except (ApiError, TimeoutError) as error:
            _LOG.warning("the lease could not be renewed", error=str(error) or type(error).__name__)
            return False
        if taken:
            self._held_until = asked + self.renew
        else:
            self._held_until = 0.0
        return taken

    async def _take(self) -> bool:
        try:
            lease = await self.cluster.get(LEASE, self.namespace, self.name)
        except ApiError as error:
            if error.status != 404:
                raise
            await self.cluster.create(LEASE, self.namespace, self._body(1, self._now()))
            return True
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen:
            self._seen, self._seen_at = version, self.clock()
        if holder not in ("", self.identity) and self.clock() < self._seen_at + float(spec.get("leaseDurationSeconds") or self.seconds):
            return False
        written = await self._write(lease, holder=self.identity, seconds=self.seconds)
        self._seen, self._seen_at = written["metadata"]["resourceVersion"], self.clock()
        return True

    async def _write(self, lease: Json, *, holder: str, seconds: float) -> Json:
        spec, now = lease.get("spec") or {}, self._now()
        changed = (spec.get("holderIdentity") or "") != holder
        body: Json = {"holderIdentity": holder, "leaseDurationSeconds": max(1, round(seconds)), "renewTime": now}
        if changed:
            body |= {"acquireTime": now, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + (1 if holder else 0)}
        version = {"resourceVersion": lease["metadata"]["resourceVersion"]}
        return await self.cluster.patch(LEASE, self.namespace, self.name, {"metadata": version, "spec": body})

    def _body(self, transitions: int, now: str) -> Json:
        spec = {
            "holderIdentity": self.identity, "leaseDurationSeconds": max(1, round(self.seconds)), "acquireTime": now, "renewTime": now,
            "leaseTransitions": transitions,
        }  # fmt: skip
        meta = {"name": self.name, "namespace": self.namespace, "labels": {"app.kubernetes.io/managed-by": "kubetuner"}}
        return {"apiVersion": LEASE.group_version, "kind": LEASE.name, "metadata": meta, "spec": spec}

    def _now(self) -> str:
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
