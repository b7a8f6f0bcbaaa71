"""Rooms on a local port, for tests: a server in this process with a stage of the test's own, and what a client says to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import json_format

from kubetuner.artifacts.objects import ArtifactRef
from kubetuner.context import StageContext
from kubetuner.flow import stage
from kubetuner.ingest import server
from kubetuner.rpc.desk import Desk
from kubetuner.rpc.job_service import JobService
from kubetuner.rpc.room import Room
from kubetuner.rpc.serve import Server
from kubetuner.rpc.settings import Listening
from kubetuner.rpc.table import ENDED, Table
from kubetuner.storage import ObjectStore
from kubetuner.v1alpha1 import ingest_service_pb2, ingest_service_pb2_grpc, job_service_pb2, job_service_pb2_grpc
from kubetuner.v1alpha1.job_pb2 import Job, JobEvent
from kubetuner.v1alpha1.training_run_pb2 import TrainingRunSpec
from tests.builders import run_document
from tests.waiting import SECONDS

MANIFEST = ArtifactRef(noun="manifest", fingerprint="0123456789" * 4)
PLAIN = Listening(address="127.0.0.1:0", health_address="127.0.0.1:0")

Stage = Callable[[TrainingRunSpec, ArtifactRef | None, StageContext], ArtifactRef]


def a_spec(**parts: Any) -> TrainingRunSpec:
    """The spec of a small run, as given."""
    return json_format.ParseDict(run_document(**parts)["spec"], TrainingRunSpec())


@dataclass
class Slow:
    """A stage that does a unit of work each time it is let, until it has done them all or is asked to stop."""

    units: int = 3
    let: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    begun: int = 0
    done: int = 0

    def __call__(self, spec: TrainingRunSpec, source: ArtifactRef | None, ctx: StageContext) -> ArtifactRef:
        self.begun += 1
        ctx.progress.start("ingest", "images", self.units)
        for number in range(self.units):
            while not self.let.acquire(timeout=0.05):
                ctx.check()
            ctx.work["imagesRead"] += 1
            ctx.progress.advance(loss=float(number))
            ctx.progress.note(f"image {number}")
            self.done += 1
        ctx.store.put(MANIFEST.key("index.json"), b"{}")
        return MANIFEST

    def finish(self) -> None:
        """Let all units be done."""
        self.let.release(self.units)


@dataclass
class Client:
    """What a client of a room says."""

    channel: grpc.Channel
    health_port: int
    desk: Desk

    def start(self, spec: TrainingRunSpec | None = None, **fields: Any) -> Job:
        stub = ingest_service_pb2_grpc.IngestServiceStub(self.channel)
        request = ingest_service_pb2.StartIngestRequest(spec=a_spec() if spec is None else spec, **fields)
        return stub.StartIngest(request, timeout=SECONDS).job

    def get(self, name: str) -> Job:
        return self.jobs.GetJob(job_service_pb2.GetJobRequest(name=name), timeout=SECONDS).job

    def cancel(self, name: str) -> Job:
        return self.jobs.CancelJob(job_service_pb2.CancelJobRequest(name=name), timeout=SECONDS).job

    def watch(self, name: str, start: int = 0) -> Iterator[JobEvent]:
        request = job_service_pb2.WatchJobRequest(name=name, start_sequence=start)
        return (answer.event for answer in self.jobs.WatchJob(request, timeout=SECONDS))

    def ended(self, name: str) -> Job:
        for _ in self.watch(name):
            pass
        job = self.get(name)
        assert job.state in ENDED
        return job

    @property
    def jobs(self) -> Any:
        return job_service_pb2_grpc.JobServiceStub(self.channel)


@dataclass
class Place:
    """Where a room is served; entered and left like the process of a pod."""

    store: ObjectStore
    run: Stage
    listening: Listening = PLAIN
    connect: Callable[[int], grpc.Channel] = lambda port: grpc.insecure_channel(f"127.0.0.1:{port}")

    def __enter__(self) -> Client:
        room = Room(stage=stage("ingest"), run=self.run, request=ingest_service_pb2.StartIngestRequest, store=self.store, device="cpu")
        self._desk = Desk(Table(self.store))
        services = [*server.services(room, self._desk), JobService("ingest", self._desk).service()]
        self._server = Server(self.listening, services).__enter__()
        self._channel = self.connect(self._server.port)
        return Client(self._channel, self._server.health_port, self._desk)

    def __exit__(self, *_: object) -> None:
        self._server.leave()
        self._desk.stop()
        self._server.__exit__()
        self._channel.close()


@contextmanager
def serving(store: ObjectStore, run: Stage, **parts: Any) -> Iterator[Client]:
    """A room whose stage is `run`, served."""
    with Place(store, run, **parts) as client:
        yield client


class Failing:
    """A stage that raises what it is given."""

    def __init__(self, *errors: BaseException) -> None:
        self._errors = list(errors)

    def __call__(self, spec: TrainingRunSpec, source: ArtifactRef | None, ctx: StageContext) -> ArtifactRef:
        if self._errors:
            raise self._errors.pop(0)
        return MANIFEST
