"""Ingest's server: StartIngest and the dry run, beside the jobs that all rooms serve."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, Final

import grpc

from kubetuner.context import StageContext
from kubetuner.flow import stage
from kubetuner.ingest.core.inspect import inspect
from kubetuner.ingest.core.model import bring
from kubetuner.ingest.core.run import run
from kubetuner.ingest.inspection import message
from kubetuner.rpc.desk import Desk
from kubetuner.rpc.errors import Refused
from kubetuner.rpc.pod import Kind
from kubetuner.rpc.room import Room
from kubetuner.rpc.serve import Service
from kubetuner.rpc.settings import Settings
from kubetuner.spec.resolve import resolve_spec
from kubetuner.storage import ObjectStore
from kubetuner.storage.dry import DryStore
from kubetuner.v1alpha1 import ingest_service_pb2 as pb
from kubetuner.v1alpha1 import ingest_service_pb2_grpc
from kubetuner.v1alpha1.training_run_pb2 import Progress, TrainingRun, TrainingRunSpec

_MOST_LOOKS: Final = 2
_SECONDS_BETWEEN: Final = 0.5


class IngestService(ingest_service_pb2_grpc.IngestServiceServicer):
    """Starts the stage, and looks without writing."""

    def __init__(self, room: Room, desk: Desk) -> None:
        self._room = room
        self._desk = desk
        self._looks = threading.BoundedSemaphore(_MOST_LOOKS)

    def StartIngest(self, request: pb.StartIngestRequest, context: Any) -> pb.StartIngestResponse:
        self._room.check(request)
        return pb.StartIngestResponse(job=self._desk.start(self._room.order(request)))

    def InspectDatasets(self, request: pb.InspectDatasetsRequest, context: Any) -> Iterator[pb.InspectDatasetsResponse]:
        if not self._looks.acquire(blocking=False):
            raise Refused(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_LOOKS", "others are being looked at; ask again later", retry_seconds=10.0
            )
        try:
            yield from _look(request.spec, self._room, context)
        finally:
            self._looks.release()


def _look(given: TrainingRunSpec, room: Room, context: Any) -> Iterator[pb.InspectDatasetsResponse]:
    """Progress now and then, the finding last. A client that hangs up ends the look."""
    run = TrainingRun(spec=given)
    resolve_spec(run.spec)
    told = _Told()
    ctx = StageContext(store=DryStore(room.store), base=room.base, progress=told, cancelled=threading.Event())
    context.add_callback(ctx.cancelled.set)
    with ThreadPoolExecutor(1, thread_name_prefix="look") as thread:
        found = thread.submit(lambda: message(inspect(run, ctx)))
        while not wait([found], timeout=_SECONDS_BETWEEN).done:
            yield pb.InspectDatasetsResponse(progress=told.progress())
        yield pb.InspectDatasetsResponse(progress=told.progress())
        yield pb.InspectDatasetsResponse(inspection=found.result())


class _Told:
    """How far a look is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = Progress(stage="ingest")

    def start(self, stage: str, unit: str, total: int, done: int = 0) -> None:
        """A new count."""
        with self._lock:
            self._now = Progress(stage=stage, unit=unit, total=total, done=done)

    def advance(self, count: int = 1, **figures: float) -> None:
        """More is done."""
        with self._lock:
            self._now.done += count

    def note(self, message: str) -> None:
        """Nothing: what is worth knowing stands in the finding."""

    def progress(self) -> Progress:
        """As it is now."""
        copy = Progress()
        with self._lock:
            copy.CopyFrom(self._now)
        return copy


def open_room(settings: Settings, store: ObjectStore) -> Room:
    """The room on a store."""
    return Room(
        stage=stage("ingest"),
        run=run,
        request=pb.StartIngestRequest,
        store=store,
        device=settings.device,
        index=settings.index,
        bring=lambda spec, ctx: bring(spec.model, ctx),
    )


def services(room: Room, desk: Desk) -> list[Service]:
    """What the room serves of its own."""
    servicer = IngestService(room, desk)
    name = pb.DESCRIPTOR.services_by_name["IngestService"].full_name
    return [Service(name=name, add=lambda server: ingest_service_pb2_grpc.add_IngestServiceServicer_to_server(servicer, server))]


KIND = Kind(open=open_room, services=services)
