"""A controller on a fake cluster, its parts in a test's hands: caches told by hand what the watches say, a store in memory, a clock."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from kubetuner import flow
from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.controller.act import Actor
from kubetuner.controller.api import JOB, POD, RUN, Json
from kubetuner.controller.cache import Cache
from kubetuner.controller.defaults import PodDefaults
from kubetuner.controller.feed import Feed
from kubetuner.controller.loop import Loop
from kubetuner.controller.metrics import Metrics
from kubetuner.controller.settings import StageSettings
from kubetuner.controller.stock import Stock
from kubetuner.controller.tell import Teller
from kubetuner.controller.trim import trim_job, trim_pod
from kubetuner.spec.load import parse_run
from kubetuner.spec.resolve import resolve
from kubetuner.storage import ObjectStore
from kubetuner.storage.memory import MemoryStore
from tests.unit.controller.fake import FakeCluster, run_of

NOW = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
FINGERPRINTS = {noun: str(number) * 40 for number, noun in enumerate(("manifest", "cache", "checkpoint", "report", "model"), start=1)}
STAGES = ("ingest", "embed", "train", "evaluate")
GIVES = {"ingest": "manifest", "embed": "cache", "train": "checkpoint", "evaluate": "report"}


def stage_settings(**defaults: object) -> StageSettings:
    """Settings of the stages."""
    return StageSettings(
        store="s3://runs/team", store_secret="store", endpoint="http://minio:9000", region="",
        ingest_image="ingest:1", stage_image="stage:1",
        defaults=PodDefaults(**defaults),  # type: ignore[arg-type]
    )  # fmt: skip


def told(stage: str, state: str = "SUCCEEDED", **error: object) -> Json:
    """A termination message."""
    message: Json = {"job": "x", "state": state, "work": {"imagesRead": 20} if stage == "ingest" else {}}
    if state == "SUCCEEDED":
        message["result"] = {"noun": GIVES[stage], "fingerprint": FINGERPRINTS[GIVES[stage]]}
        if stage == "ingest":
            message["model"] = {"noun": "model", "fingerprint": FINGERPRINTS["model"]}
    if error:
        message["error"] = error
    return message


class Quiet(Feed):
    """A feed without servers; a test says what is heard."""

    def follow(self, job_uid: str, key: str, address: str, job: str) -> None:
        pass

    def hear(self, job_uid: str, progress: Json) -> None:
        """Progress of a Job."""
        self._progress[job_uid] = progress


@dataclass
class World:
    """All of it."""

    cluster: FakeCluster = field(default_factory=FakeCluster)
    store: ObjectStore = field(default_factory=MemoryStore)
    now: datetime = NOW
    seconds: float = 1000.0

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """A new process: nothing is remembered, everything is listed anew."""
        self.runs, self.jobs, self.pods = Cache(), Cache(trim_job), Cache(trim_pod)
        clock = lambda: self.seconds  # noqa: E731 (one clock for all parts)
        self.stock = Stock(open=lambda: self.store, clock=clock)
        actor = Actor(cluster=self.cluster, runs=self.runs, jobs=self.jobs, stock=self.stock, stages=stage_settings(), clock=clock)
        self.feed = Quiet(changed=lambda key: None)
        self.teller = Teller(cluster=self.cluster, identity="test")
        self.loop = Loop(
            runs=self.runs, jobs=self.jobs, pods=self.pods, actor=actor, feed=self.feed, teller=self.teller,
            metrics=Metrics(), now=lambda: self.now, clock=clock,
        )  # fmt: skip
        self.list()

    def list(self) -> None:
        """What a relist does."""
        for kind, cache in ((RUN, self.runs), (JOB, self.jobs), (POD, self.pods)):
            cache.replace("", [cache.trimmed(copy.deepcopy(one)) for one in self.cluster.of(kind)], str(self.cluster.version))

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += timedelta(seconds=seconds)
        self.seconds += seconds

    async def submit(self, **spec: object) -> Json:
        """Make a run."""
        return await self.cluster.create(RUN, "team", run_of(**spec))

    async def turn(self) -> float | None:
        """Hear everything, then reconcile once."""
        self.list()
        return await self.loop.reconcile("team", "dog")

    def hear(self, job_uid: str, progress: Json) -> None:
        """The pod of a Job tells how far it is."""
        self.feed.hear(job_uid, progress)

    @property
    def status(self) -> Json:
        """The run's status."""
        return self.cluster.must(RUN, "team", "dog").get("status") or {}

    def row(self, stage: str) -> Json:
        """A stage's row."""
        return next((row for row in self.status.get("stages", []) if row["stage"] == stage), {})

    def condition(self, kind: str) -> str:
        """A condition's status and reason, as True/Valid."""
        return next((f"{one['status']}/{one['reason']}" for one in self.status.get("conditions", []) if one["type"] == kind), "")

    def job(self, stage: str, attempt: int = 1) -> Json:
        """A Job of the run."""
        return self.cluster.must(JOB, "team", f"dog-{stage}-{attempt}")

    def names(self) -> list[str]:
        """Names of the Jobs that are there."""
        return [one["metadata"]["name"] for one in self.cluster.of(JOB)]

    async def finish(self, stage: str, attempt: int = 1) -> None:
        """The stage's pod does its work, and the loop hears of it."""
        job = self.job(stage, attempt)
        pod = self.cluster.start_pod(job)
        self.cluster.end_pod(pod, 0, told(stage))
        self.cluster.end_job(self.job(stage, attempt), "Complete")
        await self.turn()

    async def fail(self, stage: str, attempt: int = 1, code: int = 1, message: Json | None = None, **how: str) -> None:
        """The stage's pod fails, and the loop hears of it."""
        pod = self.cluster.start_pod(self.job(stage, attempt))
        self.cluster.end_pod(pod, code, message, **how)
        self.cluster.end_job(self.job(stage, attempt), "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        await self.turn()


def play(scene: Callable[[World], Coroutine[Any, Any, None]]) -> World:
    """Run a scene in a new world."""
    world = World()
    asyncio.run(scene(world))
    return world


def remember(world: World, stage: str, source: str) -> None:
    """Put a stage's result into the store, as an earlier run would have."""
    spec = resolve(parse_run(run_of())).spec
    refs = [ArtifactRef(noun=noun, fingerprint=FINGERPRINTS[noun]) for noun in (source, "model")]
    memo = {"noun": GIVES[stage], "fingerprint": FINGERPRINTS[GIVES[stage]]}
    world.store.put(flow.memo_key(stage, spec, refs[0], refs[1]), json.dumps(memo).encode())
    world.store.put(f"{GIVES[stage]}/{memo['fingerprint']}/index.json", b"{}")
