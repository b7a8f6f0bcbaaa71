"""Events of Kubernetes about runs: written after the status, one after another, at a bounded rate, and given up rather than waited for."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from kubetuner import log
from kubetuner.controller.api import EVENT, RUN, ApiError, Cluster, Json
from kubetuner.controller.status import Happening, cut

_LOG: Final = log.get(__name__)
_MOST: Final = 4096
_NOTE: Final = 1000


@dataclass(slots=True, kw_only=True)
class Teller:
    """Writes Events."""

    cluster: Cluster
    identity: str
    rate: float = 20.0
    """Events a second."""
    _waiting: deque[tuple[Json, Happening, datetime]] = field(default_factory=lambda: deque(maxlen=_MOST))
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    leads: Callable[[], bool] = lambda: True

    def tell(self, run: Json, happening: Happening) -> None:
        """Have an Event written soon."""
        meta = {key: run["metadata"][key] for key in ("namespace", "name", "uid")}
        self._waiting.append((meta, happening, datetime.now(UTC)))
        self._wake.set()

    async def run(self) -> None:
        """Write Events until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                meta, happening, moment = self._waiting.popleft()
                started = time.monotonic()
                try:
                    if self.leads():
                        await self.cluster.create(EVENT, meta["namespace"], self._event(meta, happening, moment))
                except ApiError as error:
                    if error.status != 409:
                        _LOG.debug("an event was not written", error=str(error))
                await asyncio.sleep(max(0.0, 1.0 / self.rate - (time.monotonic() - started)))

    def _event(self, meta: Json, happening: Happening, moment: datetime) -> Json:
        digest = hashlib.sha256(f"{meta['uid']}{happening.reason}{happening.message}{moment}".encode()).hexdigest()[:16]
        regarding = {
            "apiVersion": RUN.group_version,
            "kind": RUN.name,
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
        }
        return {
            "apiVersion": EVENT.group_version,
            "kind": EVENT.name,
            "metadata": {"name": f"{meta['name']}.{digest}", "namespace": meta["namespace"]},
            "eventTime": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": "kubetuner.dev/controller",
            "reportingInstance": self.identity[:128],
            "action": happening.reason[:128],
            "reason": happening.reason[:128],
            "regarding": regarding,
            "note": cut(happening.message, _NOTE),
            "type": "Warning" if happening.warning else "Normal",
        }
