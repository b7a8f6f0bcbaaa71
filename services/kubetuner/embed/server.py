"""Embed's server: StartEmbed, beside the jobs that all rooms serve."""

from __future__ import annotations

from typing import Any

from kubetuner.embed.core.run import run
from kubetuner.flow import stage
from kubetuner.rpc.desk import Desk
from kubetuner.rpc.pod import Kind
from kubetuner.rpc.room import Room
from kubetuner.rpc.serve import Service
from kubetuner.rpc.settings import Settings
from kubetuner.storage import ObjectStore
from kubetuner.v1alpha1 import embed_service_pb2 as pb
from kubetuner.v1alpha1 import embed_service_pb2_grpc


class EmbedService(embed_service_pb2_grpc.EmbedServiceServicer):
    """Starts the stage."""

    def __init__(self, room: Room, desk: Desk) -> None:
        self._room = room
        self._desk = desk

    def StartEmbed(self, request: pb.StartEmbedRequest, context: Any) -> pb.StartEmbedResponse:
        self._room.check(request)
        return pb.StartEmbedResponse(job=self._desk.start(self._room.order(request)))


def open_room(settings: Settings, store: ObjectStore) -> Room:
    """The room on a store."""
    return Room(stage=stage("embed"), run=run, request=pb.StartEmbedRequest, store=store, device=settings.device, index=settings.index)


def services(room: Room, desk: Desk) -> list[Service]:
    """What the room serves of its own."""
    servicer = EmbedService(room, desk)
    name = pb.DESCRIPTOR.services_by_name["EmbedService"].full_name
    return [Service(name=name, add=lambda server: embed_service_pb2_grpc.add_EmbedServiceServicer_to_server(servicer, server))]


KIND = Kind(open=open_room, services=services)
