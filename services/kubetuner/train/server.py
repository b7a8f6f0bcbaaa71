"""Train's server: StartTrain, beside the jobs that all rooms serve."""

from __future__ import annotations

from typing import Any

from kubetuner.flow import stage
from kubetuner.rpc.desk import Desk
from kubetuner.rpc.pod import Kind
from kubetuner.rpc.room import Room
from kubetuner.rpc.serve import Service
from kubetuner.rpc.settings import Settings
from kubetuner.storage import ObjectStore
from kubetuner.train.core.run import run
from kubetuner.v1alpha1 import train_service_pb2 as pb
from kubetuner.v1alpha1 import train_service_pb2_grpc


class TrainService(train_service_pb2_grpc.TrainServiceServicer):
    """Starts the stage."""

    def __init__(self, room: Room, desk: Desk) -> None:
        self._room = room
        self._desk = desk

    def StartTrain(self, request: pb.StartTrainRequest, context: Any) -> pb.StartTrainResponse:
        self._room.check(request)
        return pb.StartTrainResponse(job=self._desk.start(self._room.order(request)))


def open_room(settings: Settings, store: ObjectStore) -> Room:
    """The room on a store."""
    return Room(stage=stage("train"), run=run, request=pb.StartTrainRequest, store=store, device=settings.device)


def services(room: Room, desk: Desk) -> list[Service]:
    """What the room serves of its own."""
    servicer = TrainService(room, desk)
    name = pb.DESCRIPTOR.services_by_name["TrainService"].full_name
    return [Service(name=name, add=lambda server: train_service_pb2_grpc.add_TrainServiceServicer_to_server(servicer, server))]


KIND = Kind(open=open_room, services=services)
