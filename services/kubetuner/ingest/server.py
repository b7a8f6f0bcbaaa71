"""Ingest's server: StartIngest and the dry run, beside the jobs that all rooms serve."""

from __future__ import annotations

from typing import Any

from kubetuner.flow import stage
from kubetuner.ingest.core.model import bring
from kubetuner.ingest.core.run import run
from kubetuner.ingest.looks import NAME, Looks
from kubetuner.rpc.desk import Desk
from kubetuner.rpc.pod import Kind
from kubetuner.rpc.room import Room
from kubetuner.rpc.serve import Service
from kubetuner.rpc.settings import Settings
from kubetuner.storage import ObjectStore
from kubetuner.v1alpha1 import ingest_service_pb2 as pb
from kubetuner.v1alpha1 import ingest_service_pb2_grpc


class IngestService(Looks):
    """Starts the stage, and looks without writing."""

    def __init__(self, room: Room, desk: Desk) -> None:
        super().__init__(room.store.uri)
        self._room = room
        self._desk = desk

    def StartIngest(self, request: pb.StartIngestRequest, context: Any) -> pb.StartIngestResponse:
        self._room.check(request)
        return pb.StartIngestResponse(job=self._desk.start(self._room.order(request)))


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
    return [Service(name=NAME, add=lambda server: ingest_service_pb2_grpc.add_IngestServiceServicer_to_server(servicer, server))]


KIND = Kind(open=open_room, services=services)
