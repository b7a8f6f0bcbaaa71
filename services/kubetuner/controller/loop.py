"""The loop: changes of runs, Jobs and pods become keys in a queue, and each key is observed, decided and acted upon.

Whatever goes wrong with one run is logged with its name and tried again after a pause; it never touches another run.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

import structlog

from kubetuner import log
from kubetuner.controller.act import Actor, NotLeading
from kubetuner.controller.api import ApiError, Json
from kubetuner.controller.cache import Cache
from kubetuner.controller.decide import decide
from kubetuner.controller.feed import Feed
from kubetuner.controller.metrics import Metrics
from kubetuner.controller.observe import RUN_LABEL, Observation, observe, time_of
from kubetuner.controller.queue import WorkQueue
from kubetuner.controller.status import FINISHED
from kubetuner.controller.stock import problem_of
from kubetuner.controller.tell import Teller
from kubetuner.controller.turn import Decision

_LOG: Final = log.get(__name__)
_ROUNDS: Final = 8
_KEPT: Final = 20_000
_RESYNC: Final = 600.0


@dataclass(slots=True, kw_only=True)
class Loop:
    """The work on runs of one controller."""

    runs: Cache
    jobs: Cache
    pods: Cache
    actor: Actor
    feed: Feed
    teller: Teller
    metrics: Metrics
    queue: WorkQueue = field(default_factory=WorkQueue)
    retry_seconds: float = 10.0
    progress_seconds: float = 5.0
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    clock: Callable[[], float] = time.monotonic
    _problems: OrderedDict[tuple[str, int], str] = field(default_factory=OrderedDict)
    _told: dict[str, float] = field(default_factory=dict)
    _doubted: set[str] = field(default_factory=set)
    """Runs whose newest state may not be in the cache: their write was not answered, or was refused because they had changed."""

    def listen(self) -> None:
        """Queue the runs that changes are about, from now on."""
        self.runs.hear(self._run_changed)
        self.jobs.hear(lambda job, _: self._child_changed(job))
        self.pods.hear(lambda pod, _: self._child_changed(pod))

    def feed_changed(self, key: str) -> None:
        """A run's progress is new: look when the last look for progress alone is long enough ago."""
        self.queue.add_after(key, max(0.0, self._told.get(key, 0.0) + self.progress_seconds - self.clock()))

    async def work(self) -> None:
        """One worker: until cancelled, or until another may lead."""
        while True:
            key = await self.queue.take()
            self.metrics.working(1)
            started = self.clock()
            result = "error"
            try:
                result = await self._turn(key)
            finally:
                self.queue.done(key)
                self.metrics.working(-1)
                self.metrics.reconciled(result, self.clock() - started)
                self.metrics.depth(len(self.queue))

    async def resync(self) -> None:
        """Look at every run again now and then, whatever was heard; a settled one costs nothing."""
        while True:
            self.metrics.runs(Counter(str((run.get("status") or {}).get("phase", "")) for run in self.runs.all()))
            await asyncio.sleep(_RESYNC / 20)
            if int(self.clock() / _RESYNC) != int((self.clock() - _RESYNC / 20) / _RESYNC):
                for run in self.runs.all():
                    self.queue.add(_key(run))

    async def _turn(self, key: str) -> str:
        namespace, _, name = key.partition("/")
        structlog.contextvars.bind_contextvars(run=key)
        try:
            again = await self.reconcile(namespace, name)
        except ApiError as error:
            return self._tried(key, error)
        except NotLeading:
            raise
        except Exception as error:  # noqa: BLE001 (a fault of ours with one run must not end the work on all others)
            pause = self.queue.retry(key, at_least=1.0)
            self.metrics.retried()
            _LOG.error("turn failed", pause=round(pause, 2), exc_info=error)
            return "error"
        finally:
            structlog.contextvars.clear_contextvars()
        self.queue.forget(key)
        if again is not None:
            self.queue.add_after(key, max(0.01, again))
        return "success" if again is None else "requeue_after"

    def _tried(self, key: str, error: ApiError) -> str:
        conflict = error.status == 409
        pause = self.queue.retry(key, at_least=error.retry_after)
        self.metrics.retried()
        (_LOG.debug if conflict else _LOG.warning)("turn refused", error=str(error), pause=round(pause, 2))
        return "requeue" if conflict else "error"

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Bring one run on; returns the seconds after which a look is due."""
        key = f"{namespace}/{name}"
        if key in self._doubted:
            await self.actor.refresh(namespace, name)
            self._doubted.discard(key)
        run = self.runs.get(namespace, name)
        if run is None:
            return None
        decision, pause = await self._ask(run)
        if decision.status is not None:
            self._doubted.add(key)  # until the answer is there: it may be written, and nobody tell us
            await self.actor.write(run, decision.status)
            self._doubted.discard(key)
        pause = max(pause, await self.actor.then(run, decision))
        if decision.status is not None:
            self._tell(run, decision)
        due = [seconds for seconds in (decision.again, pause or None) if seconds is not None]
        return min(due) if due else None

    async def _ask(self, run: Json) -> tuple[Decision, float]:
        """Decide, do what comes first, and decide anew while the answers change the decision."""
        pause = 0.0
        decision = self._decide(run)
        for _ in range(_ROUNDS):
            if not decision.first:
                break
            pause = await self.actor.first(run, decision)
            asked = decision.first
            decision = self._decide(run)
            if decision.first == asked:
                break
        return decision, pause

    def _decide(self, run: Json) -> Decision:
        seen = self._observe(run)
        if not seen.deleting:
            self._follow(seen)
        return decide(seen, self.now())

    def _observe(self, run: Json) -> Observation:
        meta = run["metadata"]
        uid, key = meta["uid"], _key(run)
        jobs = self.jobs.owned(uid)
        pods = [pod for job in jobs for pod in self.pods.owned(job["metadata"]["uid"])]
        attempts = [(row["stage"], int(row.get("attempt", 0))) for row in (run.get("status") or {}).get("stages") or ()]
        attempts += [
            (job["metadata"]["labels"].get("kubetuner.dev/stage", ""), int(job["metadata"]["labels"].get("kubetuner.dev/attempt", 0)))
            for job in jobs
        ]
        stock = self.actor.stock
        seen = observe(
            run,
            jobs,
            pods,
            problem=self._problem(run),
            looks=stock.looks(uid),
            outcomes=stock.outcomes(uid, attempts),
            gone=self.actor.gone(uid),
            blocked=self.actor.blocked(uid),
            warnings=self.actor.trouble.known(pod["metadata"]["uid"] for pod in pods),
            retry_seconds=self.retry_seconds,
        )
        return replace(seen, progress=self._progress(key, seen))

    def _progress(self, key: str, seen: Observation) -> dict[str, Json]:
        """What the pods told last; of Jobs at work nothing where a status with progress was written a moment ago."""
        wait = self._told.get(key, 0.0) + self.progress_seconds > self.clock()
        heard = {job.uid: self.feed.progress(job.uid) for job in seen.jobs if job.finished or not wait}
        progress = {uid: found for uid, found in heard.items() if found is not None}
        if progress and not wait:
            self._told[key] = self.clock()
        return progress

    def _problem(self, run: Json) -> str:
        status, generation = run.get("status") or {}, int(run["metadata"].get("generation", 1))
        accepted = ("Accepted", "True", generation)
        if any((one["type"], one["status"], one.get("observedGeneration")) == accepted for one in status.get("conditions") or ()):
            return ""
        key = (run["metadata"]["uid"], generation)
        if key not in self._problems:
            self._problems[key] = problem_of(run)
            while len(self._problems) > _KEPT:
                self._problems.popitem(last=False)
        return self._problems[key]

    def _follow(self, seen: Observation) -> None:
        """Streams to the first pod of each Job that runs, and to no other."""
        for job in seen.jobs:
            leader = next((pod for pod in job.pods if pod.index == 0 and pod.phase == "Running" and pod.address and not pod.deleting), None)
            if job.finished or job.deleting or job.suspended:
                self.feed.leave(job.uid) if seen.status.get("completionTime") or job.deleting else None
            elif leader is not None:
                self.feed.follow(job.uid, f"{seen.namespace}/{seen.name}", leader.address, f"{seen.uid}-{job.stage}-{job.attempt}")

    def _tell(self, run: Json, decision: Decision) -> None:
        """What comes after a written status: log lines, Events, metrics."""
        for one in decision.happenings:
            (_LOG.warning if one.warning else _LOG.info)(one.reason, stage=one.stage or None, message=one.message)
            self.teller.tell(run, one)
        assert decision.status is not None
        old = {row["stage"]: row for row in (run.get("status") or {}).get("stages") or ()}
        for row in decision.status.get("stages") or ():
            before = old.get(row["stage"], {})
            if row["phase"] in ("Succeeded", "Skipped", "Failed") and before.get("phase") != row["phase"]:
                begun, ended = time_of(row.get("startTime")), time_of(row.get("completionTime"))
                self.metrics.stage_ended(row["stage"], row["phase"], (ended - begun).total_seconds() if begun and ended else 0.0)
            if int(row.get("retries", 0)) > int(before.get("retries", 0)):
                self.metrics.stage_retried(row["stage"], row.get("reason", ""))
        if decision.status.get("phase") in FINISHED:
            self.actor.forget(run["metadata"]["uid"])
            for job in self.jobs.owned(run["metadata"]["uid"]):
                self.feed.leave(job["metadata"]["uid"])

    def _run_changed(self, run: Json, deleted: bool) -> None:
        if deleted:
            self.actor.forget(run["metadata"]["uid"])
            self._told.pop(_key(run), None)
            for job in self.jobs.owned(run["metadata"]["uid"]):
                self.feed.leave(job["metadata"]["uid"])
        self.queue.add(_key(run))

    def _child_changed(self, child: Json) -> None:
        meta = child["metadata"]
        if name := (meta.get("labels") or {}).get(RUN_LABEL):
            self.queue.add(f"{meta['namespace']}/{name}")


def _key(found: Json) -> str:
    meta = found["metadata"]
    return f"{meta['namespace']}/{meta['name']}"
