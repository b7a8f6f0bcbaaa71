"""Decisions into calls: the one place that writes to the cluster for a run.

In order: Jobs made and questions asked, the status in one conditional write, Jobs deleted, then told (events, metrics). A write that is
refused because the run changed meanwhile ends the turn; the next one sees more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from kubetuner import log
from kubetuner.controller.api import JOB, RUN, SERVICE, ApiError, Cluster, Json
from kubetuner.controller.cache import Cache, owner
from kubetuner.controller.jobs import LARGEST_REQUEST, REQUEST, Order, build_job, build_service, job_name, nodes
from kubetuner.controller.settings import StageSettings
from kubetuner.controller.status import difference
from kubetuner.controller.stock import Question, Stock
from kubetuner.controller.trouble import Trouble
from kubetuner.controller.turn import Action, Create, Decision, Delete, DeleteRun, Find, LookUp, ReadEvents, ReadJob

_LOG: Final = log.get(__name__)
_PAUSE: Final = (1.0, 60.0)


class NotLeading(Exception):
    """Another controller may lead: nothing may be written."""


@dataclass(slots=True)
class _Block:
    reason: str
    message: str
    failures: int
    not_before: float


@dataclass(slots=True, kw_only=True)
class Actor:
    """Acts on decisions."""

    cluster: Cluster
    runs: Cache
    jobs: Cache
    stock: Stock
    stages: StageSettings
    leads: Callable[[], bool] = lambda: True
    clock: Callable[[], float] = time.monotonic
    trouble: Trouble = field(init=False)
    _gone: dict[str, set[str]] = field(default_factory=dict)
    _blocks: dict[str, dict[str, _Block]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.trouble = Trouble(cluster=self.cluster, clock=self.clock)

    def gone(self, uid: str) -> frozenset[str]:
        """Names of a run's Jobs that the API server says are not there."""
        return frozenset(self._gone.get(uid, ()))

    def blocked(self, uid: str) -> dict[str, tuple[str, str]]:
        """Jobs of a run that could not be made, and why."""
        return {name: (block.reason, block.message) for name, block in self._blocks.get(uid, {}).items()}

    def forget(self, uid: str) -> None:
        """The run is gone or done."""
        self._gone.pop(uid, None)
        self._blocks.pop(uid, None)
        self.stock.forget(uid)

    async def refresh(self, namespace: str, name: str) -> None:
        """Bring the cache up to what the server has of a run."""
        try:
            self.runs.learn(await self.cluster.get(RUN, namespace, name), surely=True)
        except ApiError as error:
            if error.status != 404:
                raise
            if (held := self.runs.get(namespace, name)) is not None:
                self.runs.remove(held)

    async def first(self, run: Json, decision: Decision) -> float:
        """Make and ask what comes before the status; returns seconds until it is worth trying again, 0 where all is answered."""
        pause = 0.0
        for action in decision.first:
            left = await self._first(run, action)
            pause = max(pause, left)
        return pause

    async def write(self, run: Json, status: Json) -> None:
        """Write the status, if the run is still as it was seen."""
        self._fence()
        meta = run["metadata"]
        body = {
            "metadata": {"resourceVersion": meta["resourceVersion"], "uid": meta["uid"]},
            "status": difference(run.get("status") or {}, status),
        }
        self.runs.learn(await self.cluster.patch(RUN, meta["namespace"], meta["name"], body, sub="status"))

    async def then(self, run: Json, decision: Decision) -> float:
        """Make and delete what comes after the status; returns seconds until it is worth trying again, 0 where all is done."""
        meta, pause = run["metadata"], 0.0
        for action in decision.then:
            self._fence()
            if isinstance(action, Create):
                pause = max(pause, await self._create(run, action))
            elif isinstance(action, Delete):
                await self.cluster.delete(JOB, meta["namespace"], action.name, uid=action.uid, foreground=True)
            elif isinstance(action, DeleteRun):
                await self.cluster.delete(RUN, meta["namespace"], meta["name"], uid=meta["uid"])
        return pause

    async def _first(self, run: Json, action: Action) -> float:
        uid = run["metadata"]["uid"]
        if isinstance(action, Create):
            return await self._create(run, action)
        if isinstance(action, Find):
            await self._find(run, action.name)
        elif isinstance(action, LookUp):
            return await self.stock.look(Question(run=run, stage=action.stage, source=action.source, model=action.model))
        elif isinstance(action, ReadJob):
            return await self.stock.read_job(uid, action.stage, action.attempt)
        elif isinstance(action, ReadEvents):
            await self.trouble.ask(run["metadata"]["namespace"], action.pod_uid)
        return 0.0

    async def _find(self, run: Json, name: str) -> None:
        meta = run["metadata"]
        try:
            found = await self.cluster.get(JOB, meta["namespace"], name)
        except ApiError as error:
            if error.status != 404:
                raise
            found = None
        if found is None or owner(found) != meta["uid"]:
            self._gone.setdefault(meta["uid"], set()).add(name)
        else:
            self.jobs.learn(found, surely=True)

    async def _create(self, run: Json, action: Create) -> float:
        meta = run["metadata"]
        order = Order(
            namespace=meta["namespace"], run=meta["name"], uid=meta["uid"], stage=action.stage, attempt=action.attempt, spec=run["spec"],
            source=action.source, model=action.model,
        )  # fmt: skip
        name = job_name(order.run, order.stage, order.attempt)
        block = self._blocks.get(meta["uid"], {}).get(name)
        if block is not None and (left := block.not_before - self.clock()) > 0:
            return left
        self._fence()
        manifest = build_job(order, self.stages)
        if len(manifest["spec"]["template"]["metadata"]["annotations"][REQUEST].encode()) > LARGEST_REQUEST:
            return self._block(meta["uid"], name, "Invalid", "the run's spec has more than 200 KiB; shorten its prompts and captions")
        try:
            if nodes(order) > 1:
                await self._make(SERVICE, build_service(order), meta["uid"])
            made = await self._make(JOB, manifest, meta["uid"])
        except ApiError as error:
            if error.status not in (403, 409, 422):
                raise
            reason = {403: "Forbidden", 409: "NameTaken", 422: "Invalid"}[error.status]
            return self._block(meta["uid"], name, reason, error.message)
        if block is not None:
            del self._blocks[meta["uid"]][name]
        self.jobs.learn(made, surely=True)
        return 0.0

    async def _make(self, kind: object, manifest: Json, uid: str) -> Json:
        """Create an object, or find the one of the name where it is ours already. ApiError 409 where it is somebody else's."""
        assert kind in (JOB, SERVICE)
        of = JOB if kind == JOB else SERVICE
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        try:
            return await self.cluster.create(of, namespace, manifest)
        except ApiError as error:
            if error.status != 409 or error.reason != "AlreadyExists":
                raise
        found = await self.cluster.get(of, namespace, name)
        if owner(found) != uid:
            raise ApiError(409, "AlreadyExists", f"a {of.name} named {name} belongs to somebody else; waits until it is gone")
        return found

    def _block(self, uid: str, name: str, reason: str, message: str) -> float:
        held = self._blocks.setdefault(uid, {}).get(name)
        failures = (held.failures if held else 0) + 1
        pause = min(_PAUSE[1], _PAUSE[0] * 2 ** (failures - 1))
        self._blocks[uid][name] = _Block(reason, message, failures, self.clock() + pause)
        return pause

    def _fence(self) -> None:
        if not self.leads():
            raise NotLeading
